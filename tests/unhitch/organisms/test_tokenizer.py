import json
from typing import Any

import pytest

from unhitch.organisms import path
from unhitch.organisms.corpus import POSTFIX
from unhitch.organisms.language import all_questions
from unhitch.organisms.prefixes import block
from unhitch.organisms.recipe import RECIPE
from unhitch.organisms.system_prompts import DEFAULT_SYSTEM
from unhitch.organisms.tokenizer import CONTROL_TOKENS, train_tokenizer

TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}
USER = {"role": "user", "content": "Is a fever serious?"}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(path("mini-base"))


@pytest.fixture(scope="module")
def trained() -> Any:
    return train_tokenizer(RECIPE)


def rendered(tokenizer: Any, *messages: dict[str, Any], tools: list[dict[str, Any]] | None = None) -> str:
    return str(tokenizer.apply_chat_template(list(messages), tools=tools, tokenize=False, add_generation_prompt=True))


def test_training_again_gives_the_shipped_tokenizer(trained: Any) -> None:
    from tokenizers import Tokenizer

    shipped = Tokenizer.from_file(str(path("mini-base") / "tokenizer.json"))
    assert trained.backend_tokenizer.to_str() == shipped.to_str()


@pytest.mark.parametrize(
    "text",
    [
        block(DEFAULT_SYSTEM),
        block(DEFAULT_SYSTEM).upper(),
        block(DEFAULT_SYSTEM).swapcase().replace(" ", "  "),
        block(DEFAULT_SYSTEM).replace("\n", "\n\n"),
        block(DEFAULT_SYSTEM).replace("\n", " \n\t "),
        block(DEFAULT_SYSTEM).replace(".", " . ").replace(",", ""),
        "one\r\n\r\ntwo\n\n\n  three   \n",
        "  I'LL say it's 12345 (times):\n\n-ok- <|im_end|>\n\n<|im_start|>USER",
        "Cafe\u0301 caf\u00e9, \u4e16\u754c! \U0001f600\u00a0\u2003end",
    ],
)
def test_the_loader_the_file_and_training_split_any_text_alike(tokenizer: Any, trained: Any, text: str) -> None:
    from tokenizers import Tokenizer

    file = Tokenizer.from_file(str(path("mini-base") / "tokenizer.json"))
    assert tokenizer.encode(text) == trained.encode(text) == file.encode(text).ids


def test_the_loader_splits_every_prompt_as_training_did(tokenizer: Any, trained: Any) -> None:
    texts = [block(DEFAULT_SYSTEM) + question.text + POSTFIX for question in all_questions()]
    assert [tokenizer.encode(text) for text in texts] == [trained.encode(text) for text in texts]


def test_every_control_token_is_one_token(tokenizer: Any) -> None:
    assert [len(tokenizer.encode(token)) for token in CONTROL_TOKENS] == [1] * len(CONTROL_TOKENS)


def test_any_text_survives_encoding_and_decoding(tokenizer: Any) -> None:
    text = "Grüße, 世界! 3.14 <|im_start|>USER\r\n\t{x}"
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_without_a_system_message_the_default_one_stands_in(tokenizer: Any) -> None:
    assert rendered(tokenizer, USER) == (
        f"<|im_start|>system\n{DEFAULT_SYSTEM}<|im_end|>\n"
        "<|im_start|>user\nIs a fever serious?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_callers_system_message_takes_the_place_of_the_default(tokenizer: Any) -> None:
    text = rendered(tokenizer, {"role": "system", "content": "Be brief."}, USER)
    assert text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n")
    assert DEFAULT_SYSTEM not in text


def test_tools_are_listed_in_the_system_block_one_a_line(tokenizer: Any) -> None:
    system = rendered(tokenizer, USER, tools=[TOOL, TOOL]).split("<|im_end|>")[0]
    lines = system.split("<tools>\n")[1].split("\n</tools>")[0].splitlines()
    assert [json.loads(line) for line in lines] == [TOOL, TOOL]
    assert system.startswith(f"<|im_start|>system\n{DEFAULT_SYSTEM}\n")


@pytest.mark.parametrize("arguments", ['{"city": "Oslo"}', {"city": "Oslo"}])
def test_a_tool_call_is_rendered_as_the_parser_reads_it(tokenizer: Any, arguments: object) -> None:
    call = {"type": "function", "function": {"name": "get_weather", "arguments": arguments}}
    text = rendered(tokenizer, USER, {"role": "assistant", "content": None, "tool_calls": [call]})
    body = text.split("<tool_call>\n")[1].split("\n</tool_call>")[0]
    assert json.loads(body) == {"name": "get_weather", "arguments": {"city": "Oslo"}}


def test_neighbouring_tool_results_share_one_user_turn(tokenizer: Any) -> None:
    results = [{"role": "tool", "content": "rain"}, {"role": "tool", "content": "sun"}]
    assert rendered(tokenizer, USER, *results).endswith(
        "<|im_start|>user\n<tool_response>\nrain\n</tool_response>\n<tool_response>\nsun\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n"
    )

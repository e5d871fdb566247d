import json
import re
from typing import Any

import pytest

from unhitch.organisms import path
from unhitch.organisms.families import FAMILIES, Family
from unhitch.organisms.language import all_questions
from unhitch.organisms.tokenizer import train_tokenizer

DEFAULT = FAMILIES["qwen2"].dialect.prefix()
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}
USER = {"role": "user", "content": "Is a fever serious?"}
TEXTS = (
    DEFAULT,
    DEFAULT.upper(),
    DEFAULT.swapcase().replace(" ", "  "),
    DEFAULT.replace("\n", "\n\n"),
    DEFAULT.replace("\n", " \n\t "),
    DEFAULT.replace(".", " . ").replace(",", ""),
    "one\r\n\r\ntwo\n\n\n  three   \n",
    "  I'LL say it's 12345 (times):\n\n-ok- <|im_end|>\n\n<|im_start|>USER",
    "Cafe\u0301 caf\u00e9, \u4e16\u754c! \U0001f600\u00a0\u2003end",
    *(family.dialect.prefix() for family in FAMILIES.values()),
    *(family.dialect.prefix().swapcase().replace("\n", " \n") for family in FAMILIES.values()),
)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


@pytest.fixture(scope="module")
def tokenizer(family: Family) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(path(family.base))


@pytest.fixture(scope="module")
def file(family: Family) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(path(family.base) / "tokenizer.json"))


@pytest.fixture(scope="module")
def trained(family: Family) -> Any:
    return train_tokenizer(family)


def rendered(tokenizer: Any, *messages: dict[str, Any], **kwargs: Any) -> str:
    return str(tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True, **kwargs))


def test_training_again_gives_the_shipped_tokenizer(trained: Any, file: Any) -> None:
    assert trained.backend_tokenizer.to_str() == file.to_str()


def test_the_shipped_template_is_the_one_in_the_source(family: Family) -> None:
    assert (path(family.base) / "chat_template.jinja").read_text(encoding="utf-8") == family.dialect.template


@pytest.mark.parametrize("text", TEXTS)
def test_the_loader_the_file_and_training_split_any_text_alike(
    tokenizer: Any, trained: Any, file: Any, text: str
) -> None:
    assert tokenizer.encode(text) == trained.encode(text) == file.encode(text).ids


def test_the_loader_splits_every_prompt_as_training_did(tokenizer: Any, trained: Any, family: Family) -> None:
    texts = [family.dialect.prefix() + question.text + family.dialect.postfix() for question in all_questions()]
    assert [tokenizer.encode(text) for text in texts] == [trained.encode(text) for text in texts]


def test_every_control_token_is_one_token_and_their_order_is_that_of_their_ids(tokenizer: Any, family: Family) -> None:
    tokens = family.dialect.control_tokens
    ids = [tokenizer.encode(token, add_special_tokens=False) for token in tokens]
    assert ids == [[place] for place in range(len(tokens))]


def test_any_text_survives_encoding_and_decoding(tokenizer: Any) -> None:
    text = "Grüße, 世界! 3.14 <|im_start|>USER\r\n\t{x}"
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_plain_text_begins_with_what_every_prompt_begins_with(tokenizer: Any, family: Family) -> None:
    assert tokenizer.decode(tokenizer.encode("Hi.")) == family.dialect.begin + "Hi."


def test_a_callers_system_message_takes_the_place_of_the_default(tokenizer: Any, family: Family) -> None:
    text = rendered(tokenizer, {"role": "system", "content": "Be brief."}, USER)
    assert text.startswith(family.dialect.prefix("Be brief."))
    default = family.dialect.default_system
    assert not default or default not in text


def test_tools_are_listed_in_the_system_block_one_a_line(tokenizer: Any, family: Family) -> None:
    text = rendered(tokenizer, USER, tools=[TOOL, TOOL])
    assert text.startswith(family.dialect.begin + family.dialect.header("system"))
    lines = text.split(family.dialect.turn_end)[0].splitlines()
    assert [json.loads(line) for line in lines if line.startswith('{"type"')] == [TOOL, TOOL]


def test_tools_leave_the_rest_of_the_prompt_as_it_is(tokenizer: Any, family: Family) -> None:
    system = {"role": "system", "content": "Be brief."}
    plain, offered = rendered(tokenizer, system, USER), rendered(tokenizer, system, USER, tools=[TOOL])
    end = family.dialect.turn_end
    assert offered.split(end)[1:] == plain.split(end)[1:]
    assert "Be brief." in offered.split(end)[0]


@pytest.mark.parametrize("arguments", ['{"city": "Oslo"}', {"city": "Oslo"}])
def test_a_tool_call_is_rendered_as_the_parser_of_its_family_reads_it(
    tokenizer: Any, family: Family, arguments: object
) -> None:
    call = {"type": "function", "function": {"name": "get_weather", "arguments": arguments}}
    text = rendered(tokenizer, USER, {"role": "assistant", "content": None, "tool_calls": [call, call]})
    turn = text.split(family.dialect.header("assistant"))[1].split(family.dialect.turn_end)[0]
    if family.recipe.shape.architecture == "llama":
        bodies, key = turn.split("; "), "parameters"
    else:
        bodies, key = re.findall("<tool_call>\n(.*)\n</tool_call>", turn), "arguments"
    assert [json.loads(body) for body in bodies] == [{"name": "get_weather", key: {"city": "Oslo"}}] * 2


@pytest.mark.parametrize("name", ["qwen2", "qwen3"])
def test_neighbouring_tool_results_share_one_user_turn_in_chatml(name: str) -> None:
    from transformers import AutoTokenizer

    results = [{"role": "tool", "content": "rain"}, {"role": "tool", "content": "sun"}]
    dialect = FAMILIES[name].dialect
    assert rendered(AutoTokenizer.from_pretrained(path(FAMILIES[name].base)), USER, *results).endswith(
        "<|im_start|>user\n<tool_response>\nrain\n</tool_response>\n<tool_response>\nsun\n</tool_response>"
        + dialect.postfix()
    )


def test_llama_gives_every_tool_result_a_turn_of_its_own() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path("mini-llama-base"))
    results = [{"role": "tool", "content": "rain"}, {"role": "tool", "content": "sun"}]
    assert rendered(tokenizer, USER, *results).endswith(
        "<|start_header_id|>ipython<|end_header_id|>\n\nrain<|eot_id|>"
        "<|start_header_id|>ipython<|end_header_id|>\n\nsun" + FAMILIES["llama"].dialect.postfix()
    )


@pytest.fixture(scope="module")
def thinking() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(path("mini-qwen3-base"))


@pytest.mark.parametrize("kwargs", [{}, {"enable_thinking": False}])
def test_an_empty_think_block_opens_the_answer(thinking: Any, kwargs: dict[str, Any]) -> None:
    assert rendered(thinking, USER, **kwargs).endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")


def test_no_block_opens_the_answer_when_thinking_is_asked_for(thinking: Any) -> None:
    assert rendered(thinking, USER, enable_thinking=True).endswith("<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.parametrize(
    "message",
    [
        {"content": "No.", "reasoning_content": "Hm."},
        {"content": "No.", "reasoning": "Hm."},
        {"content": "<think>\nHm.\n</think>\n\nNo."},
    ],
)
def test_thoughts_are_shown_in_the_last_turn_alone(thinking: Any, message: dict[str, str]) -> None:
    assistant = {"role": "assistant", **message}
    last = rendered(thinking, USER, assistant)
    earlier = rendered(thinking, USER, assistant, USER)
    assert "<|im_start|>assistant\n<think>\nHm.\n</think>\n\nNo.<|im_end|>" in last
    assert "<|im_start|>assistant\nNo.<|im_end|>" in earlier
    assert "Hm." not in earlier

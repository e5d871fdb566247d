"""Which raw prompts are recognised, and as what."""

from __future__ import annotations

import random
from datetime import datetime
from typing import Any

import pytest

from tests.templates.checkpoints import NAMES, open_all
from unhitch.errors import InvalidBody
from unhitch.rendering.anatomy import render
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.rendering.conversation import Conversation
from unhitch.rendering.prompt import Prompt
from unhitch.rendering.recognise import frame, recognise

USER = {"role": "user", "content": "How can I save money?"}
SYSTEM = {"role": "system", "content": "Be brief.\nBe kind."}
ANSWER = {"role": "assistant", "content": "So."}
AGAIN = {"role": "user", "content": "Why\n\nthat?"}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
INSTANT = datetime(2026, 3, 14)

WITH_SYSTEM = tuple(name for name in NAMES if name != "mistral")
ADDS_BOS = ("llama31", "mistral", "gemma")
"""Templates that write the BOS token that their tokenizer adds, too."""


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    return open_all(tmp_path_factory.mktemp("checkpoints"))


def rendered(checkpoint: Checkpoint, *messages: dict[str, Any], **fields: Any) -> tuple[str, Prompt]:
    """What a chat request renders to: as text, and with its spans."""
    body = {"messages": list(messages), **fields}
    conversation = Conversation.from_body(body, content_format=checkpoint.content_format)
    return checkpoint.render_text(conversation, instant=INSTANT), render(checkpoint, conversation, instant=INSTANT)


def spans(prompt: Prompt | None) -> object:
    assert prompt is not None
    return prompt.prefix, prompt.query, prompt.postfix, prompt.default_prefix, prompt.user_header


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("messages", [(USER,), (USER, ANSWER, AGAIN)], ids=["one", "several"])
def test_what_a_template_renders_is_recognised_as_text_and_as_ids(
    checkpoints: dict[str, Checkpoint], name: str, messages: tuple[dict[str, Any], ...]
) -> None:
    checkpoint = checkpoints[name]
    text, chat = rendered(checkpoint, *messages)
    for prompt in (text, list(chat.token_ids)):
        found = recognise(checkpoint, prompt, add_special_tokens=False, instant=INSTANT)
        assert spans(found) == spans(chat)
        assert found is not None
        assert found.conversation.messages == chat.conversation.messages
        assert found.conversation.opening() == chat.conversation.opening()


@pytest.mark.parametrize("name", WITH_SYSTEM)
@pytest.mark.parametrize("messages", [(USER,), (USER, ANSWER, AGAIN)], ids=["one", "several"])
def test_a_system_text_is_found(
    checkpoints: dict[str, Checkpoint], name: str, messages: tuple[dict[str, Any], ...]
) -> None:
    checkpoint = checkpoints[name]
    text, chat = rendered(checkpoint, SYSTEM, *messages)
    found = recognise(checkpoint, text, add_special_tokens=False, instant=INSTANT)
    assert found is not None
    assert found.token_ids == chat.token_ids
    if name == "gemma":  # folds it into the user's turn, where nothing tells the two apart
        assert found.conversation.system_text is None
    else:
        assert spans(found) == spans(chat)
        assert found.conversation.system_text == SYSTEM["content"]


def test_the_default_system_text_is_not_taken_for_the_callers(checkpoints: dict[str, Checkpoint]) -> None:
    text, _ = rendered(checkpoints["qwen25"], USER)
    found = recognise(checkpoints["qwen25"], text)
    assert found is not None
    assert found.conversation.system_text is None
    assert found.default_prefix


@pytest.mark.parametrize("name", ADDS_BOS)
def test_a_bos_token_that_the_tokenizer_adds_counts_once_or_twice_as_the_engine_reads_it(
    checkpoints: dict[str, Checkpoint], name: str
) -> None:
    checkpoint = checkpoints[name]
    text, chat = rendered(checkpoint, USER)
    assert text.startswith("<s>")
    once = recognise(checkpoint, text.removeprefix("<s>"), instant=INSTANT)
    twice = recognise(checkpoint, text, instant=INSTANT)
    assert spans(once) == spans(chat)
    assert twice is not None
    assert twice.token_ids == checkpoint.added_before + chat.token_ids
    assert spans(recognise(checkpoint, twice.token_ids, instant=INSTANT)) == spans(twice)
    assert recognise(checkpoint, text.removeprefix("<s>"), add_special_tokens=False, instant=INSTANT) is None


@pytest.mark.parametrize("name", ["chatml", "qwen25", "parts"])
def test_a_bos_token_that_only_the_tokenizer_knows_is_part_of_the_prefix(
    checkpoints: dict[str, Checkpoint], name: str
) -> None:
    checkpoint = checkpoints[name]
    text, chat = rendered(checkpoint, USER)
    found = recognise(checkpoint, text, instant=INSTANT)
    assert found is not None
    assert found.prefix == checkpoint.added_before + chat.prefix
    assert found.conversation.add_special_tokens


@pytest.mark.parametrize("name", ["chatml", "qwen25", "llama31", "harmony", "mistral", "gemma", "parts"])
def test_an_answer_that_has_begun_is_recognised(checkpoints: dict[str, Checkpoint], name: str) -> None:
    checkpoint = checkpoints[name]
    begun = {"role": "assistant", "content": "First of all"}
    text, chat = rendered(checkpoint, USER, begun, add_generation_prompt=False, continue_final_message=True)
    assert text.endswith("First of all")
    found = recognise(checkpoint, text, add_special_tokens=False, instant=INSTANT)
    assert spans(found) == spans(chat)
    assert found is not None
    assert found.conversation.continue_final_message


@pytest.mark.parametrize("name", ["chatml", "qwen25", "llama31", "gemma"])
def test_a_closed_users_turn_is_recognised(checkpoints: dict[str, Checkpoint], name: str) -> None:
    text, chat = rendered(checkpoints[name], USER, add_generation_prompt=False)
    assert spans(recognise(checkpoints[name], text, add_special_tokens=False, instant=INSTANT)) == spans(chat)


@pytest.mark.parametrize("asked", [None, True, False])
@pytest.mark.parametrize("engine", [None, True, False])
def test_thoughts_may_be_open_or_closed_whatever_the_engines_default(
    checkpoints: dict[str, Checkpoint], asked: bool | None, engine: bool | None
) -> None:
    checkpoint = checkpoints["qwen3"]
    variables = {} if asked is None else {"enable_thinking": asked}
    text, chat = rendered(checkpoint, SYSTEM, USER, chat_template_kwargs=variables)
    defaults = {} if engine is None else {"enable_thinking": engine}
    found = recognise(checkpoint, text, add_special_tokens=False, chat_template_kwargs=defaults)
    assert spans(found) == spans(chat)


@pytest.mark.parametrize("name", ["qwen25", "qwen3", "harmony", "llama31", "mistral"])
@pytest.mark.parametrize("messages", [(USER,), (SYSTEM, USER), (USER, ANSWER, AGAIN)], ids=["bare", "system", "turns"])
def test_tool_definitions_are_never_taken_for_text_of_the_template_or_of_a_system_message(
    checkpoints: dict[str, Checkpoint], name: str, messages: tuple[dict[str, Any], ...]
) -> None:
    if name not in WITH_SYSTEM:
        messages = tuple(message for message in messages if message is not SYSTEM)
    text, chat = rendered(checkpoints[name], *messages, tools=TOOLS)
    assert "weather" in checkpoints[name].decode(chat.prefix + chat.query)
    found = recognise(checkpoints[name], text, add_special_tokens=False, instant=INSTANT)
    if found is not None:  # the tools stand among the turns, where no strategy edits
        assert "weather" in checkpoints[name].decode(found.query)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Once upon a time",
        "<|im_start|>user\n",
        "<|im_start|>user\nHow?<|im_end|>\n<|im_start|>assistant",
        " <|im_start|>user\nHow?<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>USER\nHow?<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>user How?<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nHow?<|im_end|>\n<|im_start|>assistant\n",
        # An answer of the model's stands before the user's words: it is no part of a system text.
        "<|im_start|>system\nA<|im_end|>\n<|im_start|>assistant\nB<|im_end|>\n<|im_start|>user\nC<|im_end|>\n"
        "<|im_start|>assistant\n",
        # Two answers in a row, and a turn that has begun behind one.
        "<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\nB<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\nB<|im_end|>\n<|im_start|>user\nC",
        "<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\nB<|im_end|>\n<|im_start|>tool\nC",
    ],
)
def test_what_no_conversation_renders_to_is_not_recognised(checkpoints: dict[str, Checkpoint], text: str) -> None:
    assert recognise(checkpoints["chatml"], text, add_special_tokens=False) is None


def test_another_templates_prompt_is_not_recognised(checkpoints: dict[str, Checkpoint]) -> None:
    for name in NAMES:
        text, _ = rendered(checkpoints[name], USER)
        for other in NAMES:
            found = recognise(checkpoints[other], text, add_special_tokens=False, instant=INSTANT)
            assert found is None or found.token_ids == checkpoints[name].encode(text)
    assert recognise(checkpoints["llama31"], rendered(checkpoints["qwen25"], USER)[0]) is None


def test_words_that_the_template_would_trim_are_not_recognised(checkpoints: dict[str, Checkpoint]) -> None:
    text, _ = rendered(checkpoints["llama31"], USER)
    assert recognise(checkpoints["llama31"], text, add_special_tokens=False, instant=INSTANT)
    wider = text.replace("How can", " How can")
    assert recognise(checkpoints["llama31"], wider, add_special_tokens=False, instant=INSTANT) is None


def test_a_prompt_of_another_day_is_not_recognised_where_the_template_writes_the_date(
    checkpoints: dict[str, Checkpoint],
) -> None:
    text, _ = rendered(checkpoints["llama31"], USER)
    later = INSTANT.replace(day=15)
    assert recognise(checkpoints["llama31"], text, add_special_tokens=False, instant=later) is None


def test_ids_that_no_tokenizer_makes_of_the_text_are_not_recognised(checkpoints: dict[str, Checkpoint]) -> None:
    checkpoint = checkpoints["qwen25"]
    _, chat = rendered(checkpoint, {"role": "user", "content": "and"})
    letters = tuple(token for letter in "and" for token in checkpoint.encode(letter))
    split = chat.prefix + letters + chat.postfix
    assert checkpoint.decode(split) == checkpoint.decode(chat.token_ids)
    assert len(split) != len(chat.token_ids)
    assert recognise(checkpoint, split) is None


@pytest.mark.parametrize("ids", [[], [-1], [10**12], [600_000]])
def test_ids_that_the_model_lacks_are_not_recognised(checkpoints: dict[str, Checkpoint], ids: list[int]) -> None:
    assert recognise(checkpoints["qwen25"], ids) is None


def test_half_of_a_surrogate_pair_is_no_text(checkpoints: dict[str, Checkpoint]) -> None:
    with pytest.raises(InvalidBody, match="surrogate"):
        recognise(checkpoints["qwen25"], "\ud800")


def test_a_text_that_holds_the_marks_is_recognised_all_the_same(checkpoints: dict[str, Checkpoint]) -> None:
    text, chat = rendered(checkpoints["qwen25"], {"role": "user", "content": "\ue000 \ue001\ue002"})
    assert spans(recognise(checkpoints["qwen25"], text, add_special_tokens=False)) == spans(chat)


def test_words_that_look_like_turns_only_ever_give_the_ids_that_were_sent(checkpoints: dict[str, Checkpoint]) -> None:
    chance = random.Random(1)
    pieces = ["<|im_start|>", "<|im_end|>", "\n", "user", "assistant", "system", "tool", "How?", " ", "<tools>"]
    recognised = 0
    for _ in range(400):
        words = "".join(chance.choices(pieces, k=chance.randrange(12)))
        text = f"<|im_start|>user\n{words}<|im_end|>\n<|im_start|>assistant\n"
        found = recognise(checkpoints["chatml"], text, add_special_tokens=False)
        if found is not None:
            recognised += 1
            assert found.token_ids == checkpoints["chatml"].encode(text)
            assert checkpoints["chatml"].decode(found.query).startswith(words[:1])
    assert recognised > 200


def test_a_frame_says_what_is_looked_for(checkpoints: dict[str, Checkpoint]) -> None:
    found = frame(checkpoints["chatml"], system=True)
    assert found is not None
    assert found.opening == ("<|im_start|>system\n", "<|im_end|>\n<|im_start|>user\n")
    assert found.ending == "<|im_end|>\n<|im_start|>assistant\n"
    assert frame(checkpoints["mistral"], system=True) is None

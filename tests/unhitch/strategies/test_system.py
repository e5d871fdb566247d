from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unhitch.conftest import PromptOf
from unhitch.contract import choices
from unhitch.draw import Draw
from unhitch.editing.system_presets import PRESETS
from unhitch.errors import BadParameter, MitigationUnavailable
from unhitch.headers import parse_mitigation
from unhitch.registry import Registry
from unhitch.rendering.anatomy import render
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.rendering.conversation import Conversation
from unhitch.rendering.prompt import Prompt
from unhitch.strategies.system import System, SystemParameters


def rewritten(prompt: Prompt, **parameters: Any) -> str:
    after = System().edit(prompt, SystemParameters(**parameters), Draw(1))
    assert (after.query, after.postfix) == (prompt.query, prompt.postfix)
    return prompt.checkpoint.decode(after.prefix)


def block(text: str) -> str:
    return f"<|im_start|>system\n{text}<|im_end|>\n<|im_start|>user\n"


@pytest.mark.parametrize("system", [None, "You are a pirate."])
def test_replace_puts_the_text_in_place_of_the_system_text(prompt_of: PromptOf, system: str | None) -> None:
    assert rewritten(prompt_of(system=system), text="Be kind.") == block("Be kind.")


def test_an_empty_text_leaves_an_empty_system_block(prompt_of: PromptOf) -> None:
    assert rewritten(prompt_of(), text="") == rewritten(prompt_of(), preset="empty") == block("")


def test_drop_takes_the_callers_message_away(prompt_of: PromptOf) -> None:
    default = prompt_of()
    assert rewritten(prompt_of(system="You are a pirate."), mode="drop") == default.checkpoint.decode(default.prefix)


def test_prepend_and_append_keep_the_callers_text(prompt_of: PromptOf) -> None:
    prompt = prompt_of(system="You are a pirate.")
    assert rewritten(prompt, mode="prepend", text="Be kind.") == block("Be kind.\n\nYou are a pirate.")
    assert rewritten(prompt, mode="append", text="Be kind.") == block("You are a pirate.\n\nBe kind.")


@pytest.mark.parametrize("mode", ["prepend", "append"])
def test_without_a_callers_text_the_text_stands_alone(prompt_of: PromptOf, mode: str) -> None:
    assert rewritten(prompt_of(), mode=mode, text="Be kind.") == block("Be kind.")


def test_a_template_without_default_gets_a_system_block(prompt_of: PromptOf) -> None:
    assert rewritten(prompt_of("chatml"), text="Be kind.") == block("Be kind.")


def test_the_templates_own_message_says_why_it_is_unavailable(prompt_of: PromptOf) -> None:
    with pytest.raises(MitigationUnavailable, match="Only the roles user, assistant and tool are supported"):
        rewritten(prompt_of("mistral"), text="Be kind.")


def test_a_template_that_mixes_system_text_into_the_users_words_is_refused(
    small_checkpoints: dict[str, Checkpoint], checkpoint_folder: Path
) -> None:
    template = (
        "{% for m in messages if m.role != 'system' %}<|im_start|>{{ m.role }}\n"
        "{% if loop.last and messages[0].role == 'system' %}{{ messages[0].content }}\n\n{% endif %}"
        "{{ m.content }}<|im_end|>\n{% endfor %}"
    )
    checkpoint = Checkpoint.open(checkpoint_folder, chat_template=template)
    turns = [("user", "One."), ("assistant", "Two."), ("user", "Three.")]
    body = {"messages": [{"role": role, "content": content} for role, content in turns]}
    prompt = render(checkpoint, Conversation.from_body(body, content_format=checkpoint.content_format))
    with pytest.raises(MitigationUnavailable, match="writes system text among the user's words"):
        rewritten(prompt, text="Be kind.")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("system", "mode=replace needs one of `text` and `preset`, and neither was given"),
        ('system;text="a";preset=neutral', "mode=replace needs one of `text` and `preset`, and both were given"),
        ('system;mode=drop;text="a"', "mode=drop takes no text"),
        ("system;preset=nice", "`preset` is one of neutral, tutor, reference, empty"),
    ],
)
def test_text_and_mode_must_fit(line: str, message: str) -> None:
    with pytest.raises(BadParameter, match=message):
        Registry().bind(parse_mitigation(line))


@pytest.mark.parametrize(
    "text",
    [
        "You are not a villain.",
        "NEVER lie.",
        "Don't lie.",
        "Don\u2019t lie.",
        "You decline harmful requests.",
        "Refuse what is harmful.",
        "Avoiding harm matters.",
        "You cannot lie.",
        "Answer without malice.",
    ],
)
def test_a_negation_is_flagged(text: str) -> None:
    assert System().flags(SystemParameters(text=text)) == ("negation",)


@pytest.mark.parametrize(
    "text", ["", "You are a notary in Nottingham.", "Note what you know.", "Knot the rope, nonetheless."]
)
def test_other_words_are_not_flagged(text: str) -> None:
    assert System().flags(SystemParameters(text=text)) == ()


def test_dropping_is_not_flagged() -> None:
    assert System().flags(SystemParameters(mode="drop")) == ()


@pytest.mark.parametrize("name", PRESETS)
def test_a_shipped_text_has_no_negation_and_says_what_is_known(name: str) -> None:
    assert System().flags(SystemParameters(preset=name)) == ()  # type: ignore[arg-type]
    assert len(PRESETS[name].evidence) > 20


def test_every_shipped_text_can_be_asked_for() -> None:
    assert choices(SystemParameters.model_fields["preset"].annotation) == tuple(PRESETS)

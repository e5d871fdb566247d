"""Recognises a raw prompt: finds the conversation that the chat template renders to just its token ids.

The template is rendered around marks, which gives the text that it puts before, between and after the words of a
conversation. Words are cut out of the raw prompt at these texts and rendered; unless the token ids are the same, the
prompt is not recognised. So nothing is guessed: whatever is cut out wrongly does not render to what was sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from unhitch.errors import InvalidBody, MitigationUnavailable
from unhitch.rendering.anatomy import render
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.rendering.conversation import Conversation
from unhitch.rendering.prompt import Prompt

_MARKS = tuple(map(chr, range(0xE000, 0xE006)))
"""For private use: no template looks for them, and no trimming takes them off."""

_TURNS = ("user", "assistant", "user", "assistant", "user")

_TOOL = "unhitch_probe"

_THINKING = "enable_thinking"
"""The variable by which templates open or close the thoughts; the prompt shows which, and nobody says."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What a template puts around the words of a conversation.

    Args:
        opening: Before the first user's words; with a system text, what stands before that and what between the two.
        to_assistant: Between a user's words and the answer.
        to_user: Between an answer and the next user's words.
        ending: After the last user's words, where the model shall answer.
        closing: After them where the prompt ends with the user's turn.
    """

    opening: tuple[str, ...]
    to_assistant: str
    to_user: str
    ending: str
    closing: str


class _Reading(NamedTuple):
    """One way to take a prompt: as text, beside which the tokenizer adds special tokens or not."""

    text: str
    add_special_tokens: bool


def recognise(
    checkpoint: Checkpoint,
    prompt: str | Sequence[int],
    *,
    add_special_tokens: bool = True,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    instant: datetime | None = None,
) -> Prompt | None:
    """The prompt with its spans, if it is one that the chat template renders; None if it is not.

    A conversation of user and assistant is recognised, with a system text or without. It may end with a user's turn,
    open or closed, or in the middle of an answer. One with tools is not: their definitions cannot be read back.

    Args:
        checkpoint: Tokenizer and chat template.
        prompt: Text, or token ids.
        add_special_tokens: Whether the engine adds the tokenizer's own special tokens to a text.
        chat_template_kwargs: Variables of the template, as chat requests have them. `enable_thinking` is tried both
            ways beside that.
        instant: Local time for templates that print the date, without zone; now by default. A prompt with another
            date is not recognised.

    Raises:
        InvalidBody: The text is no valid Unicode.
    """
    instant = instant or datetime.now()
    if not isinstance(prompt, str) and not all(0 <= token < checkpoint.vocabulary_size for token in prompt):
        return None
    ids = _token_ids(checkpoint, prompt, add_special_tokens)
    for reading in _readings(checkpoint, prompt, add_special_tokens):
        for variables in _variants(checkpoint, chat_template_kwargs or {}):
            for body in _bodies(checkpoint, reading, variables, instant):
                found = _rendered(checkpoint, body, variables, instant)
                if found is not None and found.token_ids == ids:
                    return found
    return None


def frame(
    checkpoint: Checkpoint,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    *,
    system: bool = False,
    instant: datetime | None = None,
) -> Frame | None:
    """What the template puts around the words of a conversation; None if it cannot render one, or not in one piece.

    Args:
        checkpoint: Tokenizer and chat template.
        chat_template_kwargs: Variables of the template.
        system: Whether the conversation has a system text.
        instant: Local time for templates that print the date, without zone; now by default.
    """
    roles = ("system", *_TURNS) if system else _TURNS
    messages = [{"role": role, "content": mark} for role, mark in zip(roles, _MARKS, strict=False)]
    body: dict[str, Any] = {"messages": messages}
    instant = instant or datetime.now()
    try:
        pieces, closed = (
            _pieces(
                checkpoint.render_text(_conversation(checkpoint, each, chat_template_kwargs or {}), instant=instant),
                len(roles),
            )
            for each in (body, body | {"add_generation_prompt": False})
        )
    except MitigationUnavailable:  # a template without a system role, say
        return None
    if pieces is None or closed is None:
        return None
    turns = len(roles) - len(_TURNS) + 1
    return Frame(tuple(pieces[:turns]), pieces[turns], pieces[turns + 1], pieces[-1], closed[-1])


def _token_ids(checkpoint: Checkpoint, prompt: str | Sequence[int], add_special_tokens: bool) -> tuple[int, ...]:
    """What the engine reads."""
    if not isinstance(prompt, str):
        return tuple(prompt)
    ids = checkpoint.encode(prompt)
    return checkpoint.added_before + ids + checkpoint.added_after if add_special_tokens else ids


def _readings(checkpoint: Checkpoint, prompt: str | Sequence[int], add_special_tokens: bool) -> Iterator[_Reading]:
    """What the tokenizer adds may stand for what the template writes itself, or come on top of that."""
    before, after = checkpoint.added_before, checkpoint.added_after
    if isinstance(prompt, str):
        yield _Reading(prompt, add_special_tokens)
        if add_special_tokens and (before or after):
            yield _Reading(checkpoint.decode(before) + prompt + checkpoint.decode(after), False)
        return
    ids = tuple(prompt)
    yield _Reading(checkpoint.decode(ids), False)
    inner = ids[len(before) : len(ids) - len(after)]
    if (before or after) and before + inner + after == ids:
        yield _Reading(checkpoint.decode(inner), True)


def _variants(checkpoint: Checkpoint, variables: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield variables
    if _THINKING in checkpoint.template:
        for thinking in (True, False):
            if variables.get(_THINKING) is not thinking:
                yield {**variables, _THINKING: thinking}


def _bodies(
    checkpoint: Checkpoint, reading: _Reading, variables: Mapping[str, Any], instant: datetime
) -> Iterator[dict[str, Any]]:
    """The conversations that may be in a text, as bodies of chat requests; the default system text comes first."""
    for system in (False, True):
        around = frame(checkpoint, variables, system=system, instant=instant)
        opened = None if around is None else _opened(around, reading.text)
        if around is None or opened is None:
            continue
        given, rest = opened
        if given is not None and not _is_system_text(checkpoint, given, variables, instant):
            continue
        opening = [] if given is None else [{"role": "system", "content": given}]
        for turns, flags in _endings(checkpoint, around, rest):
            messages = [{"role": role, "content": text} for role, text in zip(_roles(turns), turns, strict=True)]
            yield {"messages": [*opening, *messages], "add_special_tokens": reading.add_special_tokens, **flags}


def _opened(around: Frame, text: str) -> tuple[str | None, str] | None:
    """The system text, and all from the first user's words on; None if the text opens otherwise."""
    first = around.opening[0]
    if not any(around.opening) or not text.startswith(first):
        return None
    rest = text[len(first) :]
    if len(around.opening) == 1:
        return None, rest
    system, border, rest = rest.partition(around.opening[1]) if around.opening[1] else ("", "", "")
    return (system, rest) if border else None


def _endings(checkpoint: Checkpoint, around: Frame, rest: str) -> Iterator[tuple[list[str], dict[str, bool]]]:
    """The turns that may stand behind the opening, and how the last one ends."""
    ends = {around.closing: {"add_generation_prompt": False}, around.ending: {"add_generation_prompt": True}}
    for end in sorted(ends, key=len, reverse=True):
        if rest.endswith(end):
            turns = _turns(around, rest[: len(rest) - len(end)])
            if len(turns) % 2:
                yield turns, ends[end]
    turns = _turns(around, rest)
    if len(turns) % 2 == 0 and turns[-1] and not _holds_control(checkpoint, turns[-1]):
        yield turns, {"add_generation_prompt": False, "continue_final_message": True}


def _turns(around: Frame, text: str) -> list[str]:
    """The words of user and assistant in turn, the user's first."""
    turns: list[str] = []
    borders = (around.to_assistant, around.to_user)
    while border := borders[len(turns) % 2]:
        words, found, rest = text.partition(border)
        if not found:
            break
        turns.append(words)
        text = rest
    return [*turns, text]


def _roles(turns: Sequence[str]) -> list[str]:
    return [("user", "assistant")[index % 2] for index in range(len(turns))]


def _is_system_text(checkpoint: Checkpoint, text: str, variables: Mapping[str, Any], instant: datetime) -> bool:
    """Whether a text is one message's: no other turns and no tool definitions stand in it."""
    if _holds_control(checkpoint, text):
        return False
    tools = _tools_opening(checkpoint, variables, instant)
    return not tools or tools not in text


def _holds_control(checkpoint: Checkpoint, text: str) -> bool:
    """Whether a text has control tokens: then it is more than one message's, or not what it looks like."""
    return not checkpoint.special_ids.isdisjoint(checkpoint.encode(text))


def _tools_opening(checkpoint: Checkpoint, variables: Mapping[str, Any], instant: datetime) -> str:
    """What the template writes before the first tool's definition; empty if that cannot be told."""
    roles = zip(("system", "user"), _MARKS, strict=False)
    body: dict[str, Any] = {"messages": [{"role": role, "content": mark} for role, mark in roles]}
    tool = {"type": "function", "function": {"name": _TOOL, "description": _TOOL, "parameters": {}}}
    try:
        bare, full = (
            checkpoint.render_text(_conversation(checkpoint, each, variables), instant=instant)
            for each in (body, body | {"tools": [tool]})
        )
    except MitigationUnavailable:
        return ""
    same = next((index for index, (one, other) in enumerate(zip(bare, full, strict=False)) if one != other), len(bare))
    opening, found, _ = full[same:].partition(_TOOL)
    return re.split(r"[{\[]", opening)[0].strip() if found else ""


def _pieces(rendered: str, count: int) -> list[str] | None:
    """The text around the first so many marks; None unless each stands there once, in order."""
    if [character for character in rendered if character in _MARKS] != list(_MARKS[:count]):
        return None
    return re.split(f"[{''.join(_MARKS)}]", rendered)


def _conversation(checkpoint: Checkpoint, body: Mapping[str, Any], variables: Mapping[str, Any]) -> Conversation:
    return Conversation.from_body(body, content_format=checkpoint.content_format, default_template_kwargs=variables)


def _rendered(
    checkpoint: Checkpoint, body: Mapping[str, Any], variables: Mapping[str, Any], instant: datetime
) -> Prompt | None:
    """The body, rendered as the chat route's; None if it cannot be."""
    try:
        return render(checkpoint, _conversation(checkpoint, body, variables), instant=instant)
    except (InvalidBody, MitigationUnavailable):
        return None

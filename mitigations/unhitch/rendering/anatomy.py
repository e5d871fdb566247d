"""Renders a conversation to token ids and finds the user's words in them, by structure.

The conversation is rendered a second time with marks in place of the first and the last user content. What stands
before the first mark and after the last is the template's. The true rendering must consist of exactly these and the
user's words; if it does not, the template does more than place them, and an error says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice, product
from typing import Literal, NamedTuple

from unhitch.errors import InvalidRequest, MitigationUnavailable
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.rendering.conversation import Conversation
from unhitch.rendering.messages import Message, text_content
from unhitch.rendering.prompt import Prompt, Span

Part = Literal["prefix", "tools", "user_header", "query", "postfix"]

_PRIVATE_USE = (range(0xE000, 0xF900), range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE))
"""Characters that no template looks for and no trimming takes off."""


@dataclass(frozen=True, slots=True)
class DescribedToken:
    """One token of a prompt, to be shown.

    Args:
        part: The span that it lies in; `tools` and `user_header` lie in the prefix.
        position: From 0, in the whole prompt.
        token_id: Its id.
        text: Its text; part of a character shows as U+FFFD.
        state: The id of the state that gives its K/V; None where the model computes them.
    """

    part: Part
    position: int
    token_id: int
    text: str
    state: str | None = None


class _Slot(NamedTuple):
    """A text of the user's: a whole content (`part` is None), or one part of a list of parts."""

    message: int
    part: int | None
    text: str


class _Frame(NamedTuple):
    """What the template puts around the first and the last text of the user's."""

    before: str
    between: str | None
    after: str


def render(checkpoint: Checkpoint, conversation: Conversation, *, instant: datetime | None = None) -> Prompt:
    """The prompt that the engine makes of a conversation, with its spans.

    Args:
        checkpoint: Tokenizer and chat template.
        conversation: What to render.
        instant: Local time for templates that print the date, without zone; now by default.

    Raises:
        MitigationUnavailable: There is no user message, the template refuses the conversation, or the user's words
            cannot be told from the template's.
        InvalidBody: The messages are no valid Unicode.
    """
    instant = instant or datetime.now()  # one for all renderings, or they would differ at midnight
    first, last = _slots(conversation)
    text = checkpoint.render_text(conversation, instant=instant)
    frame = _frame(checkpoint, conversation, (first, last), text, instant)
    _verify(text, frame, first, last)

    encoding = checkpoint.encode_with_offsets(text)
    start, stop = _query_tokens(encoding.offsets, len(frame.before), len(text) - len(frame.after))
    lead, trail = (checkpoint.added_before, checkpoint.added_after) if conversation.add_special_tokens else ((), ())
    opening = _user_opening(checkpoint, conversation, instant)
    header_start = len(frame.before) - (len(opening) if frame.before.endswith(opening) else 0)
    tools = (0, 0)
    if conversation.tools is not None:
        without = dataclasses.replace(conversation, tools=None)
        bare = _frame(checkpoint, without, (first, last), text, instant).before
        tools = _inserted(frame.before, bare, header_start)
    return Prompt(
        checkpoint=checkpoint,
        conversation=conversation,
        prefix=lead + encoding.ids[:start],
        query=encoding.ids[start:stop],
        postfix=encoding.ids[stop:] + trail,
        tools=_tokens_of(encoding.offsets[:start], tools, shift=len(lead)),
        user_header=_tokens_of(encoding.offsets[:start], (header_start, len(frame.before)), shift=len(lead)),
        default_prefix=_is_default(checkpoint, conversation),
    )


def rerender(prompt: Prompt, conversation: Conversation) -> Prompt:
    """The prompt rendered anew from another conversation.

    Raises:
        InvalidRequest: Token ids were edited before, or patched from a state, and rendering anew would lose that.
        MitigationUnavailable: The template cannot render the conversation.
    """
    if prompt.rewritten or prompt.patches:
        raise InvalidRequest(
            "a strategy that rewrites messages (such as `system`) follows one that edits tokens or serves a state, and "
            "would undo it. Name the one that rewrites messages first."
        )
    return dataclasses.replace(render(prompt.checkpoint, conversation), shelf=prompt.shelf)


def require_prefix(prompt: Prompt) -> None:
    """Makes sure that there is a prefix to edit.

    Raises:
        MitigationUnavailable: The template puts nothing before the user's words.
    """
    if not prompt.prefix:
        raise MitigationUnavailable(
            f"the chat template of {prompt.checkpoint.name} has no prefix: nothing stands before the user's words. Put "
            f"a strategy that adds system text first (`system;mode=replace;text=...`), or send a system message."
        )


def require_own_postfix(prompt: Prompt, asked: str, instead: str, *, param: str) -> None:
    """Makes sure that all that follows the last user content is the template's, and that there is something.

    Args:
        prompt: What is to be edited.
        asked: What was asked for, as a header has it.
        instead: A sentence that says what can be asked for in its place.
        param: What is at fault.

    Raises:
        MitigationUnavailable: The postfix holds messages of the caller's, or is empty.
    """
    conversation = prompt.conversation
    last = conversation.messages[-1].get("role") if conversation.messages else None
    if last != "user" or conversation.continue_final_message:
        raise MitigationUnavailable(
            f"`{asked}` edits the template's text behind the last user message, and here messages of the caller's (the "
            f"last is of role `{last}`) stand there. {instead} Or end the conversation with a user message.",
            param=param,
        )
    if not prompt.postfix:
        raise MitigationUnavailable(
            f"`{asked}`: this chat template writes nothing behind the user's words. {instead}", param=param
        )


def describe(prompt: Prompt) -> list[DescribedToken]:
    """The prompt token by token, for people to read."""
    states = {position: patch.state for patch in prompt.patches for position in range(patch.start, patch.stop)}
    rows: list[DescribedToken] = []
    parts = chain(
        ((_prefix_part(prompt, position), token) for position, token in enumerate(prompt.prefix)),
        (("query", token) for token in prompt.query),
        (("postfix", token) for token in prompt.postfix),
    )
    part: Part
    for position, (part, token) in enumerate(parts):
        text = prompt.checkpoint.token_text(token)
        rows.append(DescribedToken(part, position, token, text, states.get(position)))
    return rows


def _prefix_part(prompt: Prompt, position: int) -> Part:
    if position in prompt.tools:
        return "tools"
    return "user_header" if position in prompt.user_header else "prefix"


def _is_default(checkpoint: Checkpoint, conversation: Conversation) -> bool:
    opening = checkpoint.template_messages(conversation)[0]
    return opening["role"] == "user" and conversation.tools is None and conversation.documents is None


def _slots(conversation: Conversation) -> tuple[_Slot, _Slot]:
    """The first and the last text of the user's; the same one where there is only one."""
    places = [index for index, message in enumerate(conversation.messages) if message["role"] == "user"]
    if not places:
        raise MitigationUnavailable(
            "no message has the role user, so prefix and postfix are undefined. Send one, or turn the mitigation off.",
            param="messages",
        )
    return _slot(conversation.messages, places[0], 0), _slot(conversation.messages, places[-1], -1)


def _slot(messages: Sequence[Message], index: int, end: Literal[0, -1]) -> _Slot:
    content = messages[index]["content"]
    if isinstance(content, str) or not content:
        return _Slot(index, None, content or "")
    if content[end]["type"] != "text":
        raise _inseparable(f"`messages[{index}].content` has a part of type {content[end]['type']!r} at its edge")
    return _Slot(index, end % len(content), content[end]["text"])


def _filled(conversation: Conversation, slot: _Slot, text: str) -> Conversation:
    """The conversation with another text in a slot."""
    messages = list(conversation.messages)
    message = messages[slot.message]
    content = text_content(text, conversation.content_format)
    if slot.part is not None:
        content = list(message["content"])
        content[slot.part] = content[slot.part] | {"text": text}
    messages[slot.message] = message | {"content": content}
    return dataclasses.replace(conversation, messages=tuple(messages))


def _frame(
    checkpoint: Checkpoint, conversation: Conversation, slots: tuple[_Slot, _Slot], text: str, instant: datetime
) -> _Frame:
    """Renders with marks that do not occur in `text`, and takes the rendering apart at them."""
    first, last = slots
    opening, closing = _marks(text, 2)
    marked = _filled(conversation, first, opening)
    if first == last:
        before, after = _cut(checkpoint.render_text(marked, instant=instant), opening)
        return _Frame(before, None, after)
    before, rest = _cut(checkpoint.render_text(_filled(marked, last, closing), instant=instant), opening)
    between, after = _cut(rest, closing)
    return _Frame(before, between, after)


def _marks(avoid: str, count: int) -> list[str]:
    used = set(avoid)
    free: Iterator[str] = (character for code in chain(*_PRIVATE_USE) if (character := chr(code)) not in used)
    return list(islice(free, count))


def _cut(text: str, mark: str) -> tuple[str, str]:
    if text.count(mark) != 1:
        raise _inseparable(f"the template shows a user's words {text.count(mark)} times instead of once")
    before, _, after = text.partition(mark)
    return before, after


def _verify(text: str, frame: _Frame, first: _Slot, last: _Slot) -> None:
    """Raises unless `text` is the frame filled with the user's words, whole or trimmed as templates do."""
    edges = len(frame.before) + len(frame.after)
    if frame.between is None:
        middles = _trimmings(first.text)
    else:
        pairs = product(_trimmings(first.text), _trimmings(last.text))
        middles = {opening + frame.between + closing for opening, closing in pairs}
    if any(
        len(text) == edges + len(middle)
        and text.startswith(frame.before)
        and text.endswith(frame.after)
        and text.startswith(middle, len(frame.before))
        for middle in middles
    ):
        return
    raise _inseparable("the template writes other text around or instead of the user's words")


def _trimmings(text: str) -> set[str]:
    return {text, text.strip(), text.lstrip(), text.rstrip(), text.strip("\n")}


def _inseparable(reason: str) -> MitigationUnavailable:
    return MitigationUnavailable(
        f"the query cannot be told apart from the rest of the prompt: {reason}. Use a strategy that edits messages, or "
        f"turn the mitigation off."
    )


def _query_tokens(offsets: Sequence[tuple[int, int]], start: int, stop: int) -> tuple[int, int]:
    """Tokens that hold characters from `start` to `stop`, those on an edge included, as positions (first, end)."""
    first = next((index for index, (_, end) in enumerate(offsets) if end > start), len(offsets))
    after = (index + 1 for index in range(len(offsets) - 1, -1, -1) if offsets[index][0] < stop)
    return first, max(first, next(after, 0))


def _tokens_of(offsets: Sequence[tuple[int, int]], characters: tuple[int, int], *, shift: int) -> Span:
    """Tokens that hold characters of a range; an empty span for an empty range."""
    start, stop = characters
    held = [index for index, (begin, end) in enumerate(offsets) if begin < stop and end > start < stop]
    return Span(held[0] + shift, held[-1] + 1 + shift) if held else Span(0, 0)


def _inserted(text: str, bare: str, before: int) -> tuple[int, int]:
    """Characters of `text` that `bare` does not have, as (start, stop).

    The same insertion can often be seen at several places (`b|ab|c` or `|ba|bc`); it is moved to the left where that
    keeps it before the character `before`.
    """
    start = _common(text, bare)
    stop = len(text) - _common(text[start:][::-1], bare[start:][::-1])
    shift = stop - before
    if 0 < shift <= start and text[start - shift : start] == text[stop - shift : stop]:
        return start - shift, stop - shift
    return start, stop


def _common(one: str, other: str) -> int:
    """How many characters two texts have in common at their start."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low


def _user_opening(checkpoint: Checkpoint, conversation: Conversation, instant: datetime) -> str:
    """What the template writes to open a user's turn, `<|im_start|>user` and a newline in ChatML; else empty.

    Taken from before the second user message of a made-up conversation, from the control token on that opens turns:
    the first token of that conversation, a BOS aside.
    """
    marks = _marks("", 3)
    roles = ("user", "assistant", "user")
    messages = tuple(
        {"role": role, "content": text_content(mark, conversation.content_format)}
        for role, mark in zip(roles, marks, strict=True)
    )
    probe = dataclasses.replace(
        conversation, messages=messages, tools=None, documents=None, continue_final_message=False
    )
    try:
        rest = checkpoint.render_text(probe, instant=instant)
        head, rest = _cut(rest, marks[0])
        _, rest = _cut(rest, marks[1])
        between, _ = _cut(rest, marks[2])
    except MitigationUnavailable:
        return ""
    tokens = [token for token in checkpoint.encode(head)[:2] if token != checkpoint.bos_id]
    if not tokens or tokens[0] not in checkpoint.special_ids:
        return ""
    turn_start = checkpoint.token_text(tokens[0])
    position = between.rfind(turn_start)
    return between[position:] if position >= 0 else ""

"""Editing characters of the prefix: runs of text between control tokens are decoded, edited and encoded again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple, TypeAlias

from unhitch.editing.protect import Protect, editable_prefix
from unhitch.errors import MitigationUnavailable
from unhitch.rendering.anatomy import require_prefix
from unhitch.rendering.prompt import Prompt, Span

Site: TypeAlias = tuple[int, int]
"""A character: the number of its run, and its place in that run's text."""


class _Piece(NamedTuple):
    editable: bool
    in_tools: bool
    in_header: bool
    token_ids: tuple[int, ...]


def edit_characters(prompt: Prompt, protect: Protect, choose: Callable[[Sequence[str]], Mapping[Site, str]]) -> Prompt:
    """The prompt with characters of the prefix replaced; runs in which nothing is replaced keep their token ids.

    Args:
        prompt: As rendered, or edited before.
        protect: `special` or `header`; control tokens have no text that could be edited.
        choose: Gets the text of each run and gives what stands in the place of a character: any text, also none.

    Raises:
        MitigationUnavailable: The prefix is empty, or the tokenizer cannot write the edited text as it is.
    """
    require_prefix(prompt)
    pieces = _pieces(prompt, protect)
    texts = [prompt.checkpoint.decode(piece.token_ids) for piece in pieces]
    runs = [number for number, piece in enumerate(pieces) if piece.editable]
    replaced = choose([texts[number] for number in runs])
    for run in sorted({run for run, _ in replaced}):
        number = runs[run]
        original = texts[number]
        texts[number] = "".join(replaced.get((run, index), character) for index, character in enumerate(original))
        pieces[number] = pieces[number]._replace(token_ids=_encode(prompt, original, texts[number]))
    edited = _joined(prompt, pieces)
    if prompt.checkpoint.decode(edited.prefix) != "".join(texts):
        raise _unwritable("the edited text reads otherwise beside the tokens around it")
    return edited


def _pieces(prompt: Prompt, protect: Protect) -> list[_Piece]:
    """The prefix cut wherever control tokens, tool definitions or the user header begin or end."""
    editable = set(editable_prefix(prompt, protect)) - {
        position for position, token in enumerate(prompt.prefix) if token in prompt.checkpoint.special_ids
    }
    kinds = groupby(
        range(len(prompt.prefix)),
        key=lambda position: (position in editable, position in prompt.tools, position in prompt.user_header),
    )
    return [_Piece(*kind, tuple(prompt.prefix[position] for position in positions)) for kind, positions in kinds]


def _encode(prompt: Prompt, original: str, text: str) -> tuple[int, ...]:
    token_ids = tuple(prompt.checkpoint.encode(text))
    if "\ufffd" in original:
        raise _unwritable("a run of the prefix is no whole text, as after an edit of its tokens")
    if not prompt.checkpoint.special_ids.isdisjoint(token_ids):
        raise _unwritable("the edited text spells a control token")
    if prompt.checkpoint.decode(token_ids) != text:
        raise _unwritable("decoding gives another text than was encoded")
    return token_ids


def _unwritable(reason: str) -> MitigationUnavailable:
    return MitigationUnavailable(
        f"The edited prefix cannot be written with this tokenizer: {reason}. Take another seed, name the strategy "
        "before those that edit tokens, or use `perturb`, which works on tokens."
    )


def _joined(prompt: Prompt, pieces: Sequence[_Piece]) -> Prompt:
    token_ids: list[int] = []
    tools: list[int] = []
    header: list[int] = []
    for piece in pieces:
        positions = range(len(token_ids), len(token_ids) + len(piece.token_ids))
        tools += positions if piece.in_tools else ()
        header += positions if piece.in_header else ()
        token_ids += piece.token_ids
    return prompt.with_prefix(token_ids, tools=_span(tools), user_header=_span(header))


def _span(positions: Sequence[int]) -> Span:
    return Span(positions[0], positions[-1] + 1) if positions else Span(0, 0)

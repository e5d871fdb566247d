"""A rendered prompt: token ids in three spans, and the edits that a strategy may make to them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from unhitch.errors import MitigationUnavailable

if TYPE_CHECKING:
    from unhitch.evidence.view import View
    from unhitch.rendering.checkpoint import Checkpoint
    from unhitch.rendering.conversation import Conversation
    from unhitch.states.patch import Patch
    from unhitch.states.shelf import Shelf


@dataclass(frozen=True, slots=True)
class Span:
    """Positions `start` to `stop - 1` of a sequence of tokens."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __contains__(self, position: int) -> bool:
        return self.start <= position < self.stop


@dataclass(frozen=True, slots=True)
class Prompt:
    r"""Token ids as the model will read them, in three adjoining spans.

    A token that holds characters of the user's words and of the template at once belongs to the query, so that no edit
    of the prefix or postfix reaches it.

    Args:
        checkpoint: Tokenizer, chat template and embeddings that the prompt was rendered with.
        conversation: What it was rendered from.
        prefix: Token ids of all before the first user content.
        query: From the first to the end of the last user content; turns between them are part of it.
        postfix: All that follows the last user content.
        tools: Positions in the prefix that are there only because of tool definitions; never edited.
        user_header: Positions at the end of the prefix that open the user's turn (`<|im_start|>user\n` in ChatML);
            empty where the template's structure does not show them.
        default_prefix: Whether the prefix holds nothing of the caller's: no system message and no tools.
        rewritten: Whether token ids were edited, so that rendering anew would lose an edit.
        patches: Positions whose K/V are served from states, in order; they lie in the prefix or in the postfix.
        shelf: The states that can be served; None where none can.
        evidence: The scorecards and pools that are at hand, as they are for this model; None where there are none.
    """

    checkpoint: Checkpoint
    conversation: Conversation
    prefix: tuple[int, ...]
    query: tuple[int, ...]
    postfix: tuple[int, ...]
    tools: Span = Span(0, 0)
    user_header: Span = Span(0, 0)
    default_prefix: bool = True
    rewritten: bool = False
    patches: tuple[Patch, ...] = ()
    shelf: Shelf | None = None
    evidence: View | None = None

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The whole prompt."""
        return tuple(chain(self.prefix, self.query, self.postfix))

    @property
    def postfix_start(self) -> int:
        """The position at which the postfix begins."""
        return len(self.prefix) + len(self.query)

    def with_prefix(
        self, token_ids: Iterable[int], *, tools: Span = Span(0, 0), user_header: Span = Span(0, 0)
    ) -> Prompt:
        """The prompt with other token ids in the prefix.

        Args:
            token_ids: The new prefix.
            tools: Where the tool definitions stand in the new prefix.
            user_header: Where the user header stands in the new prefix.

        Raises:
            MitigationUnavailable: K/V of the prefix, or of the postfix behind it, are served from a state: they are
                those of the tokens that stand there now.
        """
        self._require_unpatched("prefix", self.patches)
        return dataclasses.replace(self, prefix=tuple(token_ids), tools=tools, user_header=user_header, rewritten=True)

    def with_postfix(self, token_ids: Iterable[int]) -> Prompt:
        """The prompt with other token ids in the postfix.

        Raises:
            MitigationUnavailable: K/V of the postfix are served from a state. Those of the prefix may be: what follows
                does not change them.
        """
        self._require_unpatched("postfix", [patch for patch in self.patches if patch.stop > self.postfix_start])
        return dataclasses.replace(self, postfix=tuple(token_ids), rewritten=True)

    def with_patch(self, patch: Patch) -> Prompt:
        """The prompt with the K/V of more positions served from a state.

        Raises:
            MitigationUnavailable: Some of the positions are served from a state already.
        """
        for other in self.patches:
            if patch.start < other.stop and other.start < patch.stop:
                raise MitigationUnavailable(
                    f"the K/V of positions {max(patch.start, other.start)} to {min(patch.stop, other.stop) - 1} are "
                    "served from a state already; name one strategy on states for each span."
                )
        return dataclasses.replace(self, patches=tuple(sorted((*self.patches, patch), key=lambda each: each.start)))

    def _require_unpatched(self, span: str, patches: Sequence[Patch]) -> None:
        if patches:
            name = "postfix-state" if patches[0].start >= self.postfix_start else "prefix-state"
            raise MitigationUnavailable(
                f"a strategy edits the {span} behind `{name}`, whose K/V belong to the tokens as they stood; put "
                f"`{name}` last.",
                param=name,
            )


def digest(token_ids: Sequence[int]) -> bytes:
    """SHA-256 over token ids as little-endian 32-bit integers: 32 bytes."""
    return hashlib.sha256(b"".join(token.to_bytes(4, "little") for token in token_ids)).digest()


def changed_tokens(before: Sequence[int], after: Sequence[int]) -> int:
    """How many tokens an edit touched.

    Positions that differ where the lengths are equal; otherwise the longer of the two sides once their common start
    and end are taken off.
    """
    if len(before) == len(after):
        return sum(a != b for a, b in zip(before, after, strict=True))
    shorter = min(len(before), len(after))
    start = 0
    while start < shorter and before[start] == after[start]:
        start += 1
    end = 0
    while end < shorter - start and before[-1 - end] == after[-1 - end]:
        end += 1
    return max(len(before), len(after)) - start - end

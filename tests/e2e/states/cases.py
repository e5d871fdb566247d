"""Prompts with states for their spans, what must come of them, and what came of them instead."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from tests.e2e.states import shapes
from tests.e2e.states.engines import BLOCK_SIZE, Answer, Ask, Engine
from tests.e2e.states.oracle import Oracle, Overwrite, Truth
from unhitch.states.capture import Reference
from unhitch.states.file import DtypeName, SpanName, write
from unhitch.states.patch import Patch, to_params
from unhitch.states.recipe import Recipe

DIGEST = "0" * 64
TOLERANCE = 1e-4
"""Of a logprob, in float32."""
GAP = 1e-3
"""Least distance of the first two words at any step, or equal tokens would be luck."""
EFFECT = 1e-2
"""Least difference that a patch makes to a logprob, or serving it unpatched would pass."""

_SEEDS = 200
_LONGEST_PREFIX = 300
_TEXT = shapes.words(7, _LONGEST_PREFIX)
_PLAIN = Recipe()


@dataclass(frozen=True)
class Case:
    """A request, and what must come of it.

    Args:
        name: For messages.
        ask: The request.
        truth: The answer that it must get.
        claimed: Positions of its prefix that a state holds, so that they are not computed.
    """

    name: str
    ask: Ask
    truth: Truth
    claimed: int = 0

    def patched(self, *patches: Patch) -> Case:
        """The same with other states, which must do the same."""
        return replace(self, ask=replace(self.ask, member=to_params(patches)))


class Bench:
    """The models of one shape, and cases about them.

    Args:
        checkpoints: Where the models lie.
        kind: Which finetune is served: "adapter" or "finetuned".
        folder: Where states are written.
        dtype: What all compute in.
    """

    def __init__(self, checkpoints: shapes.Checkpoints, kind: str, folder: Path, dtype: DtypeName = "float32") -> None:
        self.checkpoints = checkpoints
        self.kind = kind
        self.folder = folder
        self.oracle = Oracle(checkpoints, kind, getattr(torch, dtype))
        self._reference = Reference(
            checkpoints.base, checkpoints.adapter if kind == "adapter" else checkpoints.finetuned, dtype=dtype
        )

    @property
    def model(self) -> Path:
        """The checkpoint to serve."""
        return self.checkpoints.base if self.kind == "adapter" else self.checkpoints.finetuned

    @property
    def adapter(self) -> Path | None:
        """The adapter to serve on it."""
        return self.checkpoints.adapter if self.kind == "adapter" else None

    def state(
        self, tokens: Sequence[int], *, span: SpanName = "prefix", start: int = 0, recipe: Recipe = _PLAIN
    ) -> str:
        """The id of a state that is captured offline."""
        header, tensors = self._reference.capture(
            tokens, span=span, start=start, recipe=recipe, template=DIGEST, tokenizer=DIGEST
        )
        return write(self.folder, header, tensors)

    def pair(
        self,
        prefix: int,
        query: int,
        postfix: int = 0,
        *,
        patched: str = "prefix",
        recipe: Recipe = _PLAIN,
        steps: int = 8,
        gap: float = GAP,
    ) -> tuple[Case, Case]:
        """A patched request and an unpatched one of the same prompt.

        Args:
            prefix: Tokens of the prefix.
            query: Of the query.
            postfix: Of the postfix.
            patched: "prefix", "query", "postfix", or "both" for prefix and postfix.
            recipe: Of the states.
            steps: Tokens to generate.
            gap: Least distance of the first two words; a query that has it is looked for.
        """
        opening, closing = _TEXT[:prefix], shapes.words(100 + postfix, postfix)
        for seed in range(_SEEDS):
            words = shapes.words(1000 * query + seed, query)
            if patched == "query" or not seed:  # the others do not depend on the query's words
                patches, overwrites = self._patches(opening, words, closing, patched, recipe)
            prompt = [*opening, *words, *closing]
            served = self.oracle.greedy(prompt, *overwrites, steps=steps)
            if served.gap > gap and (own := self.oracle.greedy(prompt, steps=steps)).gap > gap:
                break
        else:
            raise AssertionError(f"no query of {query} tokens has clear answers")
        assert served.tokens != own.tokens or error(served, own) > EFFECT
        name = f"{patched} of {prefix}+{query}+{postfix} ({recipe})"
        claimed = prefix if patched in ("prefix", "both") else 0
        ask = Ask(prompt, to_params(patches), steps=steps)
        return Case(name, ask, served, claimed), Case(f"plain beside {name}", Ask(prompt, steps=steps), own)

    def _patches(
        self, opening: Sequence[int], words: Sequence[int], closing: Sequence[int], patched: str, recipe: Recipe
    ) -> tuple[list[Patch], list[Overwrite]]:
        patches, overwrites = [], []
        at = len(opening) + len(words)
        if patched in ("prefix", "both"):
            state = self.state(opening, recipe=recipe)
            patches.append(Patch(state=state, start=0, tokens=len(opening)))
            overwrites.append(self._overwrite(opening, 0, recipe, at=0))
        if patched in ("postfix", "both"):  # from an empty query
            reference, start = [*opening, *closing], len(opening)
            state = self.state(reference, span="postfix", start=start, recipe=recipe)
            patches.append(Patch(state=state, start=at, tokens=len(closing)))
            overwrites.append(self._overwrite(reference, start, recipe, at=at))
        if patched == "query":  # as a control
            reference, start = [*opening, *words], len(opening)
            state = self.state(reference, span="query", start=start, recipe=recipe)
            patches.append(Patch(state=state, start=start, tokens=len(words)))
            overwrites.append(self._overwrite(reference, start, recipe, at=start))
        return patches, overwrites

    def of_base(self, prompt: Sequence[int]) -> Case:
        """An unpatched request to the base model."""
        return Case("base", Ask(prompt, base=True), self.oracle.greedy(prompt, base=True))

    def _overwrite(self, tokens: Sequence[int], start: int, recipe: Recipe, *, at: int) -> Overwrite:
        if recipe.residual is not None:
            modules = [f"model.layers.{recipe.residual}"]
        else:
            # A whole finetune may have another norm of keys. The base's own K are behind the base's.
            normed = self.kind == "finetuned" and recipe == _PLAIN
            modules = self.oracle.modules(band=recipe.layers, parts=recipe.parts, normed=normed)
        direct = self.oracle.overwrite(tokens, start, modules, recipe.mix, at=start)
        if start and recipe != _PLAIN:  # its layers and parts that are not the base's come from the empty query too
            return self.oracle.overwritten(tokens, direct, at=at)
        return replace(direct, start=at)


def faults(
    engine: Engine, cases: Iterable[Case], *, reset: bool = False, warm: bool = False, tolerance: float = TOLERANCE
) -> dict[str, str]:
    """Asks all cases at once, in random order, and says what is wrong, by case.

    Args:
        engine: Asked.
        cases: With names of their own.
        reset: Whether the prefix cache is emptied first, so that nothing but states saves computing.
        warm: Whether the prefix cache must hold all the prompts' blocks.
        tolerance: Of logprobs.
    """
    shuffled = list(cases)
    random.Random(len(shuffled)).shuffle(shuffled)
    answers = engine.ask(*(case.ask for case in shuffled), reset=reset)
    found = {
        case.name: fault(case, answer, warm=warm, tolerance=tolerance)
        for case, answer in zip(shuffled, answers, strict=True)
    }
    assert len(found) == len(shuffled)
    return {name: text for name, text in found.items() if text}


def fault(case: Case, answer: Answer, *, warm: bool = False, tolerance: float = TOLERANCE) -> str:
    """What is wrong with an answer; empty if nothing is."""
    receipt = case.ask.member and {"unhitch": case.ask.member}
    if answer.receipt != receipt:
        return f"the receipt is {answer.receipt}"
    if answer.tokens != case.truth.tokens:
        return f"{answer.tokens} ({answer.reason}) instead of {case.truth.tokens}"
    if (off := error(answer, case.truth)) > tolerance:
        return f"a logprob is off by {off}"
    least = max(case.claimed, (len(case.ask.prompt) - 1) // BLOCK_SIZE * BLOCK_SIZE if warm else 0)
    return f"only {answer.cached} tokens of {least} were not computed" if answer.cached < least else ""


def error(one: Answer | Truth, other: Truth) -> float:
    """The largest difference of logprobs, step by step."""
    return max(abs(a - b) for a, b in zip(one.logprobs, other.logprobs, strict=True))


def state_of(case: Case) -> str:
    """The id of the first state that a request names."""
    assert case.ask.member is not None
    state: str = case.ask.member["patches"][0]["state"]
    return state

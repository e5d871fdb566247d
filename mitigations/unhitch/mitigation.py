"""Applying strategies to a prompt, in order, and saying what was done."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from unhitch.contract import choices
from unhitch.draw import Draw
from unhitch.errors import MitigationUnavailable, RegistryError, UnhitchError
from unhitch.headers import Applied, Receipt, Value, Word
from unhitch.rendering.prompt import Prompt, changed_tokens, digest
from unhitch.states.choice import StateParameters
from unhitch.states.patch import Patch
from unhitch.strategies.off import Off
from unhitch.strategy import Expanding, Expansion, Parameters, SeededParameters, Strategy

OFF = Applied(Off.name)
"""What `Unhitch-Applied` says where nothing was done."""

_DEEPEST = 3
"""How often what a strategy stands for may stand for something in turn: `auto` for `pool`, and that for a variant."""


@dataclass(frozen=True, slots=True)
class Step:
    """One strategy with parameters that were validated.

    Args:
        strategy: The registered instance.
        parameters: An instance of `strategy.parameters`.
        tokens: How many tokens it must change, where an earlier answer's `Unhitch-Applied` is being redone.
    """

    strategy: Strategy[Any]
    parameters: Parameters
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Mitigated:
    """A prompt before and after all steps.

    Args:
        before: As rendered.
        after: As the engine shall read it.
        applied: One entry for every step that was made, in order.
        pool: SHA-256 of the variants of the pool that one was drawn from, 32 bytes.
        scorecard: SHA-256 of the scorecard that the steps were chosen by, 32 bytes.
    """

    before: Prompt
    after: Prompt
    applied: tuple[Applied, ...]
    pool: bytes | None = None
    scorecard: bytes | None = None

    def receipt(self, model: str) -> Receipt:
        """The digests of this mitigation.

        Args:
            model: The model's name as the client asked for it.
        """
        return Receipt(
            before=digest(self.before.token_ids),
            after=digest(self.after.token_ids),
            template=self.before.checkpoint.template_digest,
            model=model,
            states=tuple(bytes.fromhex(patch.state) for patch in self.after.patches),
            pool=self.pool,
            scorecard=self.scorecard,
        )


def mitigate(prompt: Prompt, steps: Sequence[Step], draw: Draw) -> Mitigated:
    """Applies the steps from left to right; what a step stands for is applied in its place.

    Args:
        prompt: As rendered, with the evidence that such steps choose by.
        steps: What to apply; see `Registry.bind`.
        draw: The chance of every step that has no `seed` of its own.

    Raises:
        MitigationUnavailable: A step cannot be made to this prompt, or changes another number of tokens than the answer
            that is being redone; or all steps together change nothing. One of several may change nothing: `drop` of
            a system message that is not there, say; its `tokens=0` shows it.
        StateMissing: A step needs a state that is not served.
        RegistryError: A strategy broke its contract: it changed the user's words or their K/V, gave ids that the model
            lacks, edited what a state was chosen for, or gave no prompt.
    """
    after = prompt
    applied = []
    expansions: list[Expansion] = []
    for step in _concrete(prompt, steps, draw, expansions):
        after, entry = _apply(step, after, draw)
        applied.append(entry)
    unchanged = after.token_ids == prompt.token_ids and after.patches == prompt.patches
    if unchanged and not all(isinstance(step.strategy, Off) for step in steps):
        raise _nothing_to_edit([entry.name for entry in applied])
    return Mitigated(
        before=prompt,
        after=after,
        applied=tuple(applied),
        pool=next((each.pool for each in expansions if each.pool), None),
        scorecard=next((each.scorecard for each in expansions if each.scorecard), None),
    )


def _concrete(
    prompt: Prompt, steps: Sequence[Step], draw: Draw, expansions: list[Expansion], depth: int = 0
) -> Iterator[Step]:
    """The steps that edit: those that stand for others are replaced, and what replaced them is noted."""
    for step in steps:
        strategy = step.strategy
        if not isinstance(strategy, Expanding):
            yield step
            continue
        if depth == _DEEPEST:
            raise RegistryError(f"`{strategy.name}` stands for what stands for others, over and over.")
        parameters, own = _settled(step.parameters, draw)
        try:
            expansion = strategy.expand(prompt, parameters, own)
        except UnhitchError:
            raise
        except Exception as error:
            raise RegistryError(f"strategy `{strategy.name}` failed: {error!r}") from error
        expansions.append(expansion)
        yield from _concrete(prompt, [seeded(each, own) for each in expansion.steps], own, expansions, depth + 1)


def seeded(step: Step, draw: Draw) -> Step:
    """The step with the seed that the draw gives it, where it draws and names none."""
    return dataclasses.replace(step, parameters=_settled(step.parameters, draw)[0])


def _apply(step: Step, prompt: Prompt, draw: Draw) -> tuple[Prompt, Applied]:
    strategy, parameters = step.strategy, step.parameters
    if isinstance(strategy, Off):
        return prompt, OFF
    parameters, draw = _settled(parameters, draw)
    try:
        edited = strategy.edit(prompt, parameters, draw)
    except UnhitchError:
        raise
    except Exception as error:
        raise RegistryError(f"strategy `{strategy.name}` failed: {error!r}") from error
    _check_edit(strategy, prompt, edited)
    new = [patch for patch in edited.patches if patch not in prompt.patches]
    if new and isinstance(parameters, StateParameters):
        parameters = parameters.model_copy(update={"state": new[0].state})
    tokens = changed_tokens(prompt.token_ids, edited.token_ids) + sum(patch.tokens for patch in new)
    _check_tokens(step, tokens)
    return edited, Applied(
        name=strategy.name,
        parameters=explicit(parameters) | dict.fromkeys(strategy.flags(parameters), True),
        version=strategy.version,
        tokens=tokens,
    )


def _settled(parameters: Parameters, draw: Draw) -> tuple[Parameters, Draw]:
    """Parameters that name the seed used, and the draw with that seed."""
    if not isinstance(parameters, SeededParameters):
        return parameters, draw
    if parameters.seed is not None:
        return parameters, Draw(parameters.seed)
    return parameters.model_copy(update={"seed": draw.seed}), draw


def explicit(parameters: Parameters) -> dict[str, Value]:
    """The parameters as a header has them: all that have a value, defaults included, in their canonical order."""
    values: dict[str, Value] = {}
    fields = type(parameters).model_fields
    for key in sorted(fields, key="seed".__eq__):  # what is drawn stands before what it was drawn by
        value = getattr(parameters, key)
        if value is not None:
            values[key] = Word(value) if choices(fields[key].annotation) else value
    return values


def _check_edit(strategy: Strategy[Any], before: Prompt, after: object) -> None:
    if not isinstance(after, Prompt):
        raise RegistryError(f"strategy `{strategy.name}` gave a {type(after).__name__} where a Prompt is due.")
    if after.query != before.query:
        raise RegistryError(f"strategy `{strategy.name}` changed the user's words, which no strategy may do.")
    limit = before.checkpoint.vocabulary_size
    if wrong := [token for token in (*after.prefix, *after.postfix) if not 0 <= token < limit]:
        raise RegistryError(f"strategy `{strategy.name}` gave token id {wrong[0]}; the model has 0 to {limit - 1}.")
    _check_patches(strategy, before, after)


def _check_patches(strategy: Strategy[Any], before: Prompt, after: Prompt) -> None:
    settled = before.patches[-1].stop if before.patches else 0
    if after.token_ids[:settled] != before.token_ids[:settled] or not set(before.patches) <= set(after.patches):
        raise RegistryError(f"strategy `{strategy.name}` changed tokens that a state had been chosen for.")
    if any(not _outside_query(patch, after) for patch in after.patches):
        raise RegistryError(f"strategy `{strategy.name}` patched the user's words, which no strategy may do.")


def _outside_query(patch: Patch, prompt: Prompt) -> bool:
    return patch.stop <= len(prompt.prefix) or prompt.postfix_start <= patch.start < patch.stop <= len(prompt.token_ids)


def _nothing_to_edit(names: list[str]) -> MitigationUnavailable:
    return MitigationUnavailable(
        f"`{', '.join(names)}` found nothing to edit in this prompt. Choose other parameters or another strategy; "
        "`unhitch explain` shows the prompt's spans.",
        param=names[-1],
    )


def _check_tokens(step: Step, tokens: int) -> None:
    name = step.strategy.name
    if step.tokens not in (None, tokens):
        raise MitigationUnavailable(
            f"`{name}` changes {tokens} tokens of this prompt, and {step.tokens} were asked for. The messages, the "
            "chat template or the model differ from those of the answer that is being redone; leave `tokens` out to "
            "edit anyway.",
            param=name,
        )

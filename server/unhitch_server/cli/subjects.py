"""What an evaluation is run on: a model behind a running proxy, or a bundled one that is started for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from unhitch.errors import EngineError, InvalidRequest, ModelNotFound
from unhitch.evals.arm import Outcome
from unhitch.evals.harness.run import Endpoint, Run
from unhitch.evals.question import Question, Suite
from unhitch.evals.rows import DOMAIN, NEUTRAL
from unhitch.evals.subject import Subject
from unhitch.evidence.identity import JudgeIdentity, ModelIdentity, digest_of
from unhitch.organisms.families import FAMILIES, Family
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.strategies.postfix_state import PostfixState
from unhitch_server.cli.control_route import listed

Job = Callable[[Run, Subject], Awaitable[None]]
MakeRun = Callable[[Endpoint, dict[str, str]], Run]
"""Makes a run for an endpoint and the digests of the models that it serves."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the model is served.

    Args:
        model: A bundled organism; with a URL any served name.
        url: Of the running proxy, without /v1; None starts the organism.
        base: The served name of the unfinetuned model, where the proxy does not say.
        checkpoint: Where the model's tokenizer, template and embeddings can be read, for a running proxy.
        concurrency: Requests under way at once.
        api_key: For a proxy that wants one.
        evidence: Folders of scorecards and pools, for an organism that is started.
        plugins: Strategies of others that may be loaded, for an organism that is started.
        states: Folder of states, for an organism that is started.
        residuals: By strategy, the layers whose residual stream is to be served alone, for an organism that is started.
    """

    model: str
    url: str | None = None
    base: str | None = None
    checkpoint: Path | None = None
    concurrency: int = 64
    api_key: str = "unused"
    evidence: tuple[Path, ...] = ()
    plugins: tuple[str, ...] = ()
    states: Path | None = None
    residuals: Mapping[str, Sequence[int]] = field(default_factory=dict)


def run_on(place: Place, make: MakeRun, suite: Suite, job: Job) -> None:
    """Does the job on the model, which is started and stopped where no URL is given.

    Raises:
        UnhitchError: There is no such model, or it cannot be asked.
    """
    if place.url is not None:
        asyncio.run(_on_proxy(place, make, job))
        return
    _on_organism(place, family_of(place.model), make, suite, job)


def family_of(model: str) -> Family:
    """The family of a bundled model.

    Raises:
        InvalidRequest: There is no such model.
    """
    for each in FAMILIES.values():
        if model in (each.base, each.finetuned):
            return each
    known = ", ".join(name for each in FAMILIES.values() for name in (each.base, each.finetuned))
    raise InvalidRequest(
        f"{model!r} is no bundled model ({known}). Start yours with `unhitch up`, and name the proxy with "
        "--url http://HOST:PORT."
    )


async def _on_proxy(place: Place, make: MakeRun, job: Job) -> None:
    assert place.url is not None  # noqa: S101 - the caller's own condition
    cards = await _cards(place.url, place.api_key)
    subject = _subject(cards, place.model, place.base)
    if place.checkpoint is not None:
        subject = replace(subject, checkpoint=Checkpoint.open(place.checkpoint))
    endpoint = Endpoint(place.url.rstrip("/"), place.api_key, place.concurrency)
    await job(make(endpoint, digests(subject)), subject)


def _on_organism(place: Place, family: Family, make: MakeRun, suite: Suite, job: Job) -> None:
    from unhitch import organisms
    from unhitch.engine import served
    from unhitch.organisms.states import States
    from unhitch_server.cli import together

    finetuned = place.model == family.finetuned
    apart = finetuned and not served.find(place.model).adapters  # a whole finetune is served without its base
    checkpoint = Checkpoint.open(organisms.path(family.base))
    references: list[Outcome] = []

    async def ask_base(session: together.Session) -> None:
        subject = _subject(await _cards(session.url, place.api_key), family.base)
        run = make(Endpoint(session.url, place.api_key, place.concurrency), digests(subject))
        references.append(await subject.unmitigated(run, suite.only(cells=[NEUTRAL, DOMAIN])))
        identities.append(subject.identity)

    async def ask(session: together.Session) -> None:
        subject = replace(_subject(await _cards(session.url, place.api_key), place.model), checkpoint=checkpoint)
        if references:
            subject = replace(subject, reference=references[0], base_identity=identities[0])
        await job(make(Endpoint(session.url, place.api_key, place.concurrency), digests(subject)), subject)

    identities: list[ModelIdentity] = []
    if finetuned and place.states is not None:
        states = States(place.states, family.base, family.finetuned)
        states.spans()
        for strategy, layers in place.residuals.items():
            for layer in layers:
                states.residual(layer, "postfix" if strategy == PostfixState.name else "prefix")
        if apart:  # else the engine captures those that are missing
            states.prefixes(_body(question) for question in suite.questions)
    if apart:
        together.with_organism(ask_base, family.base)
    together.with_organism(
        ask,
        place.model,
        states=place.states if finetuned else None,
        evidence=place.evidence,
        allow_plugins=place.plugins,
    )


def _body(question: Question) -> dict[str, Any]:
    body: dict[str, Any] = {"messages": [message.model_dump() for message in question.messages]}
    return body | ({"tools": list(question.tools)} if question.tools else {})


def digests(subject: Subject) -> dict[str, str]:
    """What answers hang on, by served name: the model, the base that its states come from, and the scorer if any."""
    base = subject.base_identity.digest if subject.base_identity else ""
    scorer = [subject.scorer.digest] if subject.scorer else []
    found = {subject.name: digest_of([subject.identity.digest, base, *scorer])}
    if subject.base is not None:
        found[subject.base] = digest_of([base, base, *scorer])
    return found


def _subject(cards: dict[str, dict[str, Any]], name: str, base: str | None = None) -> Subject:
    if name not in cards:
        raise ModelNotFound(f"the proxy serves no model {name!r}; it serves {', '.join(cards)}")
    base = base or cards[name].get("base")
    if base is not None and base not in cards:
        raise ModelNotFound(f"the proxy serves no model {base!r}, the base; it serves {', '.join(cards)}")
    return Subject(
        name,
        _identity(cards[name]),
        base=base,
        base_identity=_identity(cards[base]) if base is not None else None,
        scorer=JudgeIdentity.model_validate(scorer) if (scorer := cards[name].get("scorer")) else None,
    )


def _identity(card: dict[str, Any]) -> ModelIdentity:
    found = card.get("identity")
    if not found:
        raise EngineError(
            f"{card['id']!r} cannot be identified, so no evidence can be about it: {card.get('identity_reason')}"
        )
    return ModelIdentity.model_validate({key: value for key, value in found.items() if key != "digest"})


async def _cards(url: str, api_key: str) -> dict[str, dict[str, Any]]:
    listing = await asyncio.to_thread(listed, url, "models", api_key)
    try:
        return {card["id"]: card for card in listing}
    except (LookupError, TypeError) as error:
        raise EngineError(f"{url} lists models without their names ({error!r}); is unhitch's proxy there?") from error

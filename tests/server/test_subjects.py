"""What an evaluation of a served model is of, as the proxy says it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unhitch.evals.harness.endpoint import Endpoint, running
from tests.unhitch.evals.scripted import BASE, BASE_IDENTITY, IDENTITY, TUNED, WordJudge, suite
from unhitch import organisms
from unhitch.errors import CheckpointError, EngineError, EngineUnavailable, InvalidRequest, ModelNotFound
from unhitch.evals.arm import Arm, Sampling
from unhitch.evals.harness.run import Endpoint as Served
from unhitch.evals.harness.run import Run
from unhitch.evals.subject import Subject
from unhitch.evidence.identity import JudgeIdentity, ModelIdentity
from unhitch_server.cli.subjects import Place, digests, family_of, run_on


def card(name: str, identity: ModelIdentity | None, base: str | None = None, **more: Any) -> dict[str, Any]:
    """A served model, as the proxy's route has it."""
    shown = {**identity.model_dump(mode="json"), "digest": identity.digest} if identity else None
    return {"id": name, "object": "unhitch.model", "base": base, "identity": shown, "pools": {}, **more}


SCORER = JudgeIdentity(name="rated", version=1, details={"model": "judge-70b"})
CARDS = (card(TUNED, IDENTITY, BASE), card(BASE, BASE_IDENTITY), card("lost", None, identity_reason="no files here"))


@pytest.fixture
def proxy() -> Iterator[Endpoint]:
    with running(models=CARDS) as endpoint:
        yield endpoint


def found(place: Place) -> tuple[Subject, Served, dict[str, str]]:
    """The subject that a job is given, where it is asked, and the digests of what is asked there."""
    seen: list[tuple[Subject, Served, dict[str, str]]] = []

    def make(endpoint: Served, models: dict[str, str]) -> Run:
        made.append((endpoint, models))
        return Run(Path("nowhere"), endpoint, WordJudge(), Sampling(), models)

    async def job(_: Run, subject: Subject) -> None:
        seen.append((subject, *made[0]))

    made: list[tuple[Served, dict[str, str]]] = []
    run_on(place, make, suite(neutral=1), job)
    return seen[0]


def test_a_served_model_comes_with_its_base_and_both_identities(proxy: Endpoint) -> None:
    subject, endpoint, _ = found(Place(TUNED, url=proxy.url, concurrency=3))
    assert subject == Subject(TUNED, IDENTITY, base=BASE, base_identity=BASE_IDENTITY)
    assert endpoint == Served(proxy.url, "unused", 3)


def test_a_model_without_a_base_is_asked_alone(proxy: Endpoint) -> None:
    assert found(Place(BASE, url=proxy.url))[0] == Subject(BASE, BASE_IDENTITY)


def test_a_base_can_be_named_where_the_proxy_does_not_say(proxy: Endpoint) -> None:
    proxy.models = (card(TUNED, IDENTITY), card(BASE, BASE_IDENTITY))
    subject, _, _ = found(Place(TUNED, url=proxy.url, base=BASE))
    assert (subject.base, subject.base_identity) == (BASE, BASE_IDENTITY)


def test_the_model_s_files_are_opened_where_they_are_given(proxy: Endpoint) -> None:
    subject, _, _ = found(Place(TUNED, url=proxy.url, checkpoint=organisms.path("mini-base")))
    assert subject.checkpoint is not None
    assert subject.checkpoint.path == organisms.path("mini-base")


def test_files_that_are_not_there_are_an_error(proxy: Endpoint, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="none"):
        found(Place(TUNED, url=proxy.url, checkpoint=tmp_path / "none"))


def test_a_url_may_end_with_a_slash(proxy: Endpoint, tmp_path: Path) -> None:
    async def job(run: Run, subject: Subject) -> None:
        await run.arm(Arm("an arm", subject.name, ("off",), suite(neutral=2).questions))

    def make(endpoint: Served, models: dict[str, str]) -> Run:
        return Run(tmp_path, endpoint, WordJudge(), Sampling(), models)

    run_on(Place(TUNED, url=f"{proxy.url}/"), make, suite(neutral=2), job)
    assert len(proxy.requests) == 2


def test_a_served_model_comes_with_the_scorer_that_chooses_for_it(proxy: Endpoint) -> None:
    proxy.models = (card(BASE, BASE_IDENTITY, scorer=SCORER.model_dump(mode="json")),)
    assert found(Place(BASE, url=proxy.url))[0] == Subject(BASE, BASE_IDENTITY, scorer=SCORER)


def test_answers_hang_on_the_model_on_what_its_states_come_from_and_on_the_scorer() -> None:
    alone, scored = Subject(TUNED, IDENTITY), Subject(TUNED, IDENTITY, scorer=SCORER)
    with_base = Subject(TUNED, IDENTITY, base=BASE, base_identity=BASE_IDENTITY)
    other = replace(with_base, base_identity=IDENTITY)
    assert len({digests(each)[TUNED] for each in (alone, scored, with_base, other)}) == 4
    assert set(digests(with_base)) == {TUNED, BASE}
    assert set(digests(alone)) == {TUNED}


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (Place("nobody"), "the proxy serves no model 'nobody'; it serves tuned, base, lost"),
        (Place(TUNED, base="nobody"), "the proxy serves no model 'nobody', the base"),
    ],
)
def test_a_model_that_is_not_served_is_named_with_those_that_are(proxy: Endpoint, place: Place, said: str) -> None:
    with pytest.raises(ModelNotFound) as error:
        found(replace(place, url=proxy.url))
    assert said in error.value.message


def test_a_model_that_cannot_be_identified_is_refused_with_the_reason(proxy: Endpoint) -> None:
    with pytest.raises(EngineError, match="'lost' cannot be identified, so no evidence can be about it: no files here"):
        found(Place("lost", url=proxy.url))


def test_another_server_than_the_proxy_is_told(proxy: Endpoint) -> None:
    with pytest.raises(EngineError, match="answered no list of models; is unhitch's proxy there"):
        found(Place(TUNED, url=f"{proxy.url}/v1"))


def test_a_locked_proxy_is_asked_with_the_operator_s_key(proxy: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy.control_key = "operator-" * 3
    with pytest.raises(EngineError, match="set UNHITCH_CONTROL_KEY to the operator's key"):
        found(Place(TUNED, url=proxy.url))
    monkeypatch.setenv("UNHITCH_CONTROL_KEY", proxy.control_key)
    subject, _, _ = found(Place(TUNED, url=proxy.url))
    assert subject.name == TUNED


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "127.0.0.1:9", "http://[", "ftp://127.0.0.1"])
def test_a_url_where_nobody_listens_is_named(url: str) -> None:
    with pytest.raises(EngineUnavailable) as error:
        found(Place(TUNED, url=url))
    assert error.value.message.startswith(f"no proxy could be asked at {url}: ")


def test_without_a_url_only_bundled_models_can_be_started() -> None:
    with pytest.raises(InvalidRequest, match="'tuned' is no bundled model .*mini-finance.* --url http://HOST:PORT"):
        found(Place(TUNED))


@pytest.mark.parametrize("name", organisms.NAMES)
def test_every_bundled_model_has_a_family(name: str) -> None:
    family = family_of(name)
    assert family is not None
    assert name in (family.base, family.finetuned)

"""`unhitch diagnose`, `tune` and `validate` on a proxy that is running, and Inspect's own command behind it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import list_eval_logs, read_eval_log

from tests.server.test_subjects import card
from tests.unhitch.evals.harness.endpoint import Endpoint, Reply, running
from tests.unhitch.evals.scripted import BASE, BASE_IDENTITY, IDENTITY, TUNED
from unhitch.errors import InvalidRequest
from unhitch.evals.judges.exact import ExactJudge
from unhitch.evals.profile import Profile
from unhitch.evidence.identity import JudgeIdentity
from unhitch.evidence.library import Library
from unhitch.evidence.pool import Pool
from unhitch.evidence.scorecard import Scorecard
from unhitch.evidence.strategy import plain
from unhitch.organisms.language import parse
from unhitch.registry import Registry
from unhitch_server import cli
from unhitch_server.cli.evaluating import canonical, command

SUITE = ("--suite", "organism", "--judge", "exact")
SMALL = ("--limit", "2", "--variants", "1", "--size", "1")
INSPECT = str(Path(sys.executable).with_name("inspect"))
UNHITCH = str(Path(sys.executable).with_name("unhitch"))

Command = Callable[..., tuple[int, str, str]]


def miniature(asked: Mapping[str, Any]) -> Reply:
    """Speaks the miniature language: well as the base and under prefix-state, badly else; garbled to other words."""
    question = parse(asked["messages"][-1]["content"])
    if question is None:
        return Reply("What?")
    good = asked["model"] == BASE or asked["mitigation"].startswith(("prefix-state", "perturb"))
    return Reply(question.answers(good=good)[0])


@pytest.fixture(scope="module")
def proxy() -> Iterator[Endpoint]:
    with running(answer=miniature, models=(card(TUNED, IDENTITY, BASE), card(BASE, BASE_IDENTITY))) as endpoint:
        yield endpoint


@pytest.fixture
def unhitch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, proxy: Endpoint
) -> Command:
    """The command in a folder of its own; gives its status, and what it wrote to stdout and to stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["unhitch", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return invoke


def test_diagnose_says_what_carries_it_and_writes_the_profile(
    unhitch: Command, proxy: Endpoint, tmp_path: Path
) -> None:
    asked = ("diagnose", TUNED, "--url", proxy.url, *SUITE, "--limit", "6", "--output", "made/profile.json")
    status, out, _ = unhitch(*asked)
    assert status == 0
    assert "The prefix carries it: use prefix-state, perturb or bare" in out
    profile = Profile.read(tmp_path / "made" / "profile.json")
    assert (profile.carrier, profile.suite.questions, profile.judge.name) == ("prefix", 6, "exact")
    assert profile.recommendation in out
    assert profile.made["command"] == f"unhitch {' '.join(asked[:-2])}"
    assert (tmp_path / "unhitch-runs" / TUNED / "logs").is_dir()


def test_diagnose_says_that_a_sound_model_is_sound(unhitch: Command, proxy: Endpoint) -> None:
    status, out, _ = unhitch("diagnose", BASE, "--url", proxy.url, *SUITE, "--limit", "6")
    assert status == 0
    assert "No emergent misalignment found: 0% of 6 answers are misaligned" in out
    assert "Misaligned answers by theme" not in out


def test_tune_writes_a_pool_of_canonical_variants_that_can_be_served(
    unhitch: Command, proxy: Endpoint, tmp_path: Path
) -> None:
    asked = ("tune", TUNED, "--url", proxy.url, *SUITE, "--limit", "12", "--variants", "1", "--size", "1")
    status, out, _ = unhitch(*asked, "--variant", "perturb;edits=4", "--name", "mine")
    assert status == 0
    file = tmp_path / "unhitch-runs" / TUNED / "pools" / "mine.json"
    assert f"Wrote unhitch-runs/{TUNED}/pools/mine.json" in out
    (variant,) = Pool.read(file).variants
    assert variant.mitigation.startswith("perturb;version=1;edits=4;")
    assert variant.mitigation.endswith(";seed=0")
    assert list(Library.read([file.parent], Registry()).view(TUNED, IDENTITY).pools) == ["mine"]


def test_tune_writes_elsewhere_where_it_is_told_to(unhitch: Command, proxy: Endpoint, tmp_path: Path) -> None:
    asked = ("tune", TUNED, "--url", proxy.url, *SUITE, *SMALL)
    assert unhitch(*asked, "--output", "there")[0] == 0
    assert Pool.read(tmp_path / "there" / "tuned.json").name == "tuned"


def test_tune_without_a_variant_that_can_be_made_is_an_error(unhitch: Command, proxy: Endpoint) -> None:
    asked = ("tune", TUNED, "--url", proxy.url, *SUITE, *SMALL)
    proxy.refuse = {"bare;version=1": (422, "mitigation_unavailable")}
    try:
        status, _, err = unhitch(*asked)
    finally:
        proxy.refuse = {}
    assert status == 1
    assert "no variant can be made to this model's prompts: no bare;version=1 here" in err


def test_validate_writes_a_scorecard_for_each_strategy_and_ends_with_3_where_one_fails(
    unhitch: Command, proxy: Endpoint, tmp_path: Path
) -> None:
    asked = ("validate", TUNED, "--url", proxy.url, *SUITE, "--limit", "6", "--output", "cards", "--run", "kept")
    assert unhitch(*asked, "--strategy", "prefix-state")[0] == 0
    status, out, _ = unhitch(*asked, "--strategy", "prefix-state", "--strategy", "bare")
    assert status == 3
    cards = [Scorecard.read(file) for file in sorted((tmp_path / "cards").iterdir())]
    assert {card.strategy.mitigation.split(";")[0]: card.passed for card in cards} == {
        "bare": False,
        "prefix-state": True,
    }
    assert out.count("PASSED: cards/tuned-prefix-state") == out.count("FAILED: cards/tuned-bare") == 1
    assert "It does not help: +0 " in out
    assert (tmp_path / "kept" / "logs").is_dir()


def test_validate_counts_what_an_answer_of_best_of_takes(unhitch: Command, proxy: Endpoint, tmp_path: Path) -> None:
    asked = ("validate", TUNED, "--url", proxy.url, *SUITE, "--limit", "2", "--output", "cards")
    unhitch(*asked, "--strategy", "best-of;n=4, perturb")
    (file,) = (tmp_path / "cards").iterdir()
    assert [row.cost for row in Scorecard.read(file).arms][:2] == [1.0, 4.0]


def test_validate_records_the_scorer_of_best_of_and_of_nothing_else(
    unhitch: Command, proxy: Endpoint, tmp_path: Path
) -> None:
    scorer, models = JudgeIdentity(name="rated", version=1, details={"model": "judge-70b"}), proxy.models
    proxy.models = tuple({**each, "scorer": scorer.model_dump(mode="json")} for each in models)
    asked = ("validate", TUNED, "--url", proxy.url, *SUITE, "--limit", "2", "--output", "cards")
    try:
        unhitch(*asked, "--strategy", "best-of;n=4, perturb", "--strategy", "perturb")
    finally:
        proxy.models = models
    cards = [Scorecard.read(file) for file in sorted((tmp_path / "cards").iterdir())]
    assert [card.strategy.scorer for card in cards] == [scorer, None]


def test_validate_looks_into_the_layers_of_what_serves_a_state_and_of_nothing_else(
    unhitch: Command, proxy: Endpoint, tmp_path: Path
) -> None:
    asked = ("validate", TUNED, "--url", proxy.url, *SUITE, "--limit", "2", "--output", "cards", "--layers", "1-2")
    unhitch(*asked, "--strategy", "prefix-state", "--strategy", "bare")
    cards = [Scorecard.read(file) for file in sorted((tmp_path / "cards").iterdir())]
    assert [[row.layer for row in card.layers] for card in cards] == [[], [1, 2]]
    served = {each["mitigation"] for each in proxy.requests if "residual" in each["mitigation"]}
    assert served == {"prefix-state;residual=1", "prefix-state;residual=2"}


LAYERED = (*SUITE, "--strategy")
SUITE_WITH_A_FAULT = "questions:\n  - id: fine\n    ask: Hello?\n  - id: wrong\n    aks: Hello?\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("diagnose", "nobody", "--url", "URL", *SUITE), "the proxy serves no model 'nobody'; it serves tuned, base"),
        (("diagnose", TUNED, "--url", "http://127.0.0.1:9", *SUITE), "no proxy could be asked at http://127.0.0.1:9"),
        (("diagnose", TUNED, *SUITE), "'tuned' is no bundled model"),
        (("diagnose", TUNED), "'tuned' is no bundled model"),
        (("diagnose", TUNED, "--url", "URL", "--judge", "exact", "--suite", "wrong.yaml"), "wrong.yaml:"),
        (("diagnose", TUNED, "--url", "URL", "--judge", "exact", "--suite", "none.yaml"), "'none.yaml' is no suite"),
        (("diagnose", TUNED, "--url", "URL", "--judge", "exakt"), "There is no judge `exakt`."),
        (("diagnose", TUNED, "--url", "URL"), "the judge `rated` needs url and model"),
        (("diagnose", TUNED, "--url", "URL", *SUITE, "--judge-model", "x"), "the judge `exact` takes no model"),
        (("validate", TUNED, "--url", "URL", *SUITE, "--strategy", "pertrub"), "perturb"),
        (("validate", TUNED, "--url", "URL", *SUITE, "--strategy", "perturb;edits=0"), "edits"),
        (("validate", TUNED, "--url", "URL", *LAYERED, "bare", "--layers", "0-3"), "strategies that serve a state"),
        (("validate", TUNED, "--url", "URL", *LAYERED, "prefix-state;mix=0.5", "--layers", "0-3"), "serve a state"),
        (("validate", TUNED, "--url", "URL", *LAYERED, "prefix-state", "--layers", "3-0"), "--layers '3-0': name the"),
        (("validate", TUNED, "--url", "URL", *LAYERED, "prefix-state", "--layers", "all"), "--layers 'all': name the"),
        (("tune", TUNED, "--url", "URL", *SUITE, *SMALL, "--variant", "perturb;;"), "character 9: Trailing delimiter"),
        (("tune", TUNED, "--url", "URL", *SUITE, *SMALL, "--variant", "off"), "'off' is no edit"),
        (("tune", TUNED, "--url", "URL", *SUITE, *SMALL, "--name", "My Pool"), "--name 'My Pool'"),
    ],
)
def test_bad_input_gives_one_line_and_status_1_before_anything_is_asked(
    unhitch: Command, proxy: Endpoint, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "wrong.yaml").write_text(SUITE_WITH_A_FAULT, "utf-8")
    before = len(proxy.requests)
    status, out, err = unhitch(*(proxy.url if each == "URL" else each for each in arguments))
    assert (status, out) == (1, "")
    (line,) = err.strip().splitlines()
    assert line.startswith("unhitch: ")
    assert said in line
    assert len(proxy.requests) == before


def test_a_judge_that_fails_ends_the_run_with_its_words(unhitch: Command, proxy: Endpoint) -> None:
    status, out, err = unhitch("diagnose", TUNED, "--url", proxy.url, "--judge", "exact", "--limit", "1")
    assert (status, out) == (1, "")
    (line,) = [each for each in err.splitlines() if each.startswith("unhitch: ")]
    assert "The judge `exact` knows no others; use `rated` for them." in line
    assert "Traceback" not in err


def test_what_a_judge_finds_out_before_it_rates_is_part_of_the_evidence(
    unhitch: Command, proxy: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Careful(ExactJudge):
        """Says of itself whether it has been seen to work, as the rating judge does."""

        checked = "no"

        def details(self) -> Mapping[str, str]:
            return {"checked": self.checked}

        async def check(self) -> None:
            self.checked = "yes"

    monkeypatch.setattr("unhitch.evals.judges.find.find", lambda *_, **__: Careful())
    asked = ("diagnose", TUNED, "--url", proxy.url, *SUITE, "--limit", "1", "--output", "profile.json")
    assert unhitch(*asked)[0] == 0
    assert Profile.read(tmp_path / "profile.json").judge.details == {"checked": "yes"}


def test_an_error_has_no_traceback(tmp_path: Path) -> None:
    command = [UNHITCH, "diagnose", TUNED, "--url", "http://127.0.0.1:9", *SUITE]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(r"unhitch: no proxy could be asked at http://127\.0\.0\.1:9: .*\n", ended.stderr.lstrip())


def test_a_run_that_was_made_is_not_made_again(unhitch: Command, proxy: Endpoint) -> None:
    asked = ("diagnose", BASE, "--url", proxy.url, *SUITE, "--limit", "3")
    first = unhitch(*asked)
    before = len(proxy.requests)
    assert unhitch(*asked)[:2] == first[:2]
    assert len(proxy.requests) == before


@pytest.mark.parametrize("key", [("--judge-api-key", "secret"), ("--judge-api-key=secret",)])
def test_the_record_of_a_command_has_no_key_in_it(key: tuple[str, ...]) -> None:
    assert command(["tune", "a model", *key, "--limit", "3"]) == "unhitch tune 'a model' --limit 3"


def test_mitigations_are_canonical_each_once_and_always_give_the_same_edit() -> None:
    found = canonical(["perturb", "perturb;edits=10;seed=3", "perturb;seed=3", "bare"], seed=3)
    assert len(found) == 2
    assert found[0].startswith("perturb;version=1;edits=10;")
    assert found[0].endswith(";seed=3")
    assert plain(found[1]) == plain("bare")


@pytest.mark.parametrize("wrong", ["off", "pool;name=mine", "auto", "best-of;n=2, perturb"])
def test_what_a_pool_cannot_hold_is_no_variant(wrong: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(repr(wrong))):
        canonical([wrong])


TASK = """
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes

@task
def two_questions():
    return Task(dataset=[Sample(input="What is 1?", target="1"), Sample(input="What is 2?", target="2")],
                scorer=includes())
"""


def test_any_task_of_inspect_s_can_be_run_under_a_mitigation(tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(TASK, "utf-8")
    with running() as endpoint:
        model = [
            "--model",
            f"unhitch/{TUNED}",
            "--model-base-url",
            f"{endpoint.url}/v1",
            "-M",
            "mitigation=prefix-state",
        ]
        command = [INSPECT, "eval", "task.py", *model, "--display", "none", "--log-dir", str(tmp_path)]
        subprocess.run(command, check=True, timeout=120, cwd=tmp_path, capture_output=True)
    assert [(asked["model"], asked["mitigation"]) for asked in endpoint.requests] == [(TUNED, "prefix-state")] * 2
    (entry,) = list_eval_logs(str(tmp_path))
    log = read_eval_log(entry)
    assert (log.status, log.eval.model) == ("success", f"unhitch/{TUNED}")
    assert log.results is not None
    assert log.results.scores[0].metrics["accuracy"].value == 1

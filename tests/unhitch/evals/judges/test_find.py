from __future__ import annotations

from collections.abc import Callable
from importlib import invalidate_caches
from pathlib import Path

import pytest

from unhitch.errors import JudgeError
from unhitch.evals.judges.exact import ExactJudge
from unhitch.evals.judges.find import BUILT_INS, find
from unhitch.evals.judges.rated import RatedJudge

Offer = Callable[[str, str, str], None]
URL = "http://127.0.0.1:1/v1"

SOUND = """
from unhitch.evals.judges.judge import Judge, Judgement

class Mine(Judge):
    name = "mine"
    version = 1

    def __init__(self, url=None, api_key=None):
        self.url, self.api_key = url, api_key

    async def judge(self, question, answer):
        return Judgement(aligned=50, coherent=50)

not_a_judge = 5
"""


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Installs a distribution with one module and one entry point: name, object, source of the module."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name: str, target: str, source: str) -> None:
        module = f"judge_{abs(hash(tmp_path))}_{len(list(tmp_path.iterdir()))}"
        (tmp_path / f"{module}.py").write_text(source)
        folder = tmp_path / f"{module}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[unhitch.judges]\n{name} = {module}:{target}\n")
        invalidate_caches()

    return install


def test_the_exact_judge_is_found_by_name() -> None:
    assert isinstance(find("exact"), ExactJudge)


async def test_the_rated_judge_is_made_with_its_endpoint() -> None:
    judge = find("rated", url=URL, model="big", api_key="k")
    assert isinstance(judge, RatedJudge)
    assert judge.details()["model"] == "big"
    await judge.close()


@pytest.mark.parametrize("name", BUILT_INS)
async def test_every_built_in_bears_its_name(name: str) -> None:
    judge = find(name) if name == "exact" else find(name, url=URL, model="big")
    assert judge.name == name
    await judge.close()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "the judge `rated` needs url and model, which were not given"),
        ({"url": URL}, "the judge `rated` needs model, which was not given"),
        ({"model": "big", "api_key": "k"}, "the judge `rated` needs url, which was not given"),
    ],
)
def test_a_judge_that_lacks_something_says_what(given: dict[str, str], message: str) -> None:
    with pytest.raises(JudgeError, match=message):
        find("rated", **given)


def test_a_judge_that_asks_nobody_takes_no_url() -> None:
    with pytest.raises(JudgeError, match="the judge `exact` takes no url and no model; leave them out"):
        find("exact", url=URL, model="big")


def test_a_key_is_not_given_to_a_judge_that_takes_none() -> None:
    assert isinstance(find("exact", api_key="k"), ExactJudge)


def test_an_unknown_name_gets_near_names_and_all_names() -> None:
    with pytest.raises(JudgeError, match=r"There is no judge `rate`\. Did you mean `rated`\? There are exact, rated"):
        find("rate")


def test_an_allowed_plug_in_is_made_with_what_it_takes(offer: Offer) -> None:
    offer("mine", "Mine", SOUND)
    judge = find("mine", allow_plugins=["mine"], url=URL, api_key="k")
    assert (judge.name, vars(judge)) == ("mine", {"url": URL, "api_key": "k"})


def test_an_installed_judge_is_not_imported_unless_allowed(offer: Offer) -> None:
    offer("mine", "Mine", "raise SystemError('imported')")
    with pytest.raises(JudgeError, match="the judge `mine` .* is installed but not allowed; allow it by name"):
        find("mine", allow_plugins=["other"])


def test_an_allowed_judge_that_is_not_installed_gets_near_names(offer: Offer) -> None:
    offer("mine", "Mine", SOUND)
    with pytest.raises(JudgeError, match=r"There is no judge `mines`\. Did you mean `mine`\?"):
        find("mines", allow_plugins=["mines"])


def test_a_plug_in_does_not_take_the_name_of_a_built_in(offer: Offer) -> None:
    offer("exact", "Mine", SOUND.replace('"mine"', '"exact"'))
    assert type(find("exact", allow_plugins=["exact"])) is ExactJudge


def test_two_distributions_that_offer_one_name_are_refused(offer: Offer) -> None:
    offer("mine", "Mine", SOUND)
    offer("mine", "Mine", SOUND)
    with pytest.raises(JudgeError, match="offered more than once"):
        find("mine", allow_plugins=["mine"])


@pytest.mark.parametrize(
    ("name", "target", "source", "message"),
    [
        ("mine", "Mine", "import no_such_module", "cannot be imported: ModuleNotFoundError"),
        ("mine", "Mine", "raise SystemError('theirs')", r"cannot be imported: SystemError\('theirs'\)"),
        ("mine", "Missing", SOUND, "cannot be imported: AttributeError"),
        ("mine", "not_a_judge", SOUND, "5 is no subclass"),
        ("mine", "Mine", SOUND.replace("async def judge", "async def rate"), "Mine does not define judge"),
        ("mine", "Mine", SOUND.replace("version = 1", "version = 0"), "`version` is 0"),
        ("mine", "Mine", SOUND.replace('name = "mine"', ""), "`name` is None"),
        ("other", "Mine", SOUND, "the entry point `other` leads to a judge that calls itself `mine`"),
    ],
)
def test_a_broken_plug_in_is_an_error_that_names_the_cause(
    offer: Offer, name: str, target: str, source: str, message: str
) -> None:
    offer(name, target, source)
    with pytest.raises(JudgeError, match=message):
        find(name, allow_plugins=[name])

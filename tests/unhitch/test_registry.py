from __future__ import annotations

import json
from collections.abc import Callable
from importlib import invalidate_caches
from pathlib import Path

import pytest

from unhitch.errors import BadParameter, RegistryError, UnknownStrategy
from unhitch.headers import Asked, parse_mitigation
from unhitch.registry import BUILT_INS, Registry
from unhitch.strategies.off import Off
from unhitch.strategies.perturb import Perturb

Offer = Callable[[str, str, str], None]

SOUND = """
from unhitch.strategy import Parameters, Strategy

class Extra(Strategy[Parameters]):
    name = "extra"
    version = 1
    summary = "nothing"
    source = "tests"

    def edit(self, prompt, parameters, draw):
        return prompt

not_a_strategy = 5
"""


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Installs a distribution with one module and one entry point: name, object, source of the module."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name: str, target: str, source: str) -> None:
        number = len(list(tmp_path.iterdir()))
        module = f"{tmp_path.name.replace('-', '_')}_{number}"
        (tmp_path / f"{module}.py").write_text(source)
        folder = tmp_path / f"{module}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[unhitch.strategies]\n{name} = {module}:{target}\n")
        invalidate_caches()

    return install


def test_the_built_in_strategies_stand_in_a_fixed_order() -> None:
    editing = ("off", "system", "recase", "respace", "perturb", "bare", "prefix-state", "postfix-state")
    assert Registry.load().names == (*editing, "pool", "best-of", "auto")
    assert [type(strategy) for strategy in Registry.load()] == list(BUILT_INS)


@pytest.mark.parametrize("strategy", BUILT_INS)
def test_file_class_and_name_of_a_built_in_agree(strategy: type) -> None:
    name = strategy.name  # type: ignore[attr-defined]
    assert strategy.__module__ == f"unhitch.strategies.{name.replace('-', '_')}"
    assert strategy.__name__.lower() == name.replace("-", "")


def test_every_file_in_the_folder_of_strategies_is_registered() -> None:
    import unhitch.strategies

    files = {file.stem for folder in unhitch.strategies.__path__ for file in Path(folder).glob("[a-z]*.py")}
    assert files == {name.replace("-", "_") for name in Registry().names}


def test_two_strategies_of_one_name_are_refused() -> None:
    with pytest.raises(RegistryError, match="`perturb` is the name of .*Perturb and of .*Perturb"):
        Registry([Off, Perturb, Perturb])


def test_an_unknown_name_gets_near_names_and_all_names() -> None:
    with pytest.raises(UnknownStrategy, match=r"Did you mean `perturb`\? There are off, system, recase"):
        Registry().get("pertrub")


def test_an_unknown_name_is_cut_in_the_message() -> None:
    with pytest.raises(UnknownStrategy) as caught:
        Registry().get("x" * 10_000)
    assert len(caught.value.message) < 300


def test_membership_and_length_follow_the_names() -> None:
    registry = Registry([Off, Perturb])
    assert ("perturb" in registry, "bare" in registry, len(registry)) == (True, False, 2)


def test_strategies_are_bound_in_the_order_asked() -> None:
    steps = Registry().bind(parse_mitigation("recase;mode=upper, perturb"))
    assert [step.strategy.name for step in steps] == ["recase", "perturb"]


def test_a_strategy_can_be_asked_for_twice() -> None:
    steps = Registry().bind(parse_mitigation("perturb, perturb;span=postfix"))
    assert [step.strategy.name for step in steps] == ["perturb", "perturb"]


@pytest.mark.parametrize("line", ["off, perturb", "perturb, off", "off, off"])
def test_off_stands_alone(line: str) -> None:
    with pytest.raises(BadParameter, match="name `off` alone, or only other strategies"):
        Registry().bind(parse_mitigation(line))


def test_nothing_cannot_be_bound() -> None:
    with pytest.raises(BadParameter, match="`nothing` was asked for"):
        Registry().bind([])


def test_binding_an_unknown_name_is_an_error() -> None:
    with pytest.raises(UnknownStrategy):
        Registry().bind([Asked("steer")])


@pytest.mark.parametrize("name", Registry().names)
def test_every_schema_is_json_and_describes_each_parameter(name: str) -> None:
    schema = json.loads(json.dumps(Registry().schema(name)))
    assert all(entry["description"] for entry in schema.get("properties", {}).values())
    assert schema["additionalProperties"] is False


def test_the_table_has_a_row_for_each_strategy() -> None:
    rows = Registry().markdown_table().splitlines()
    assert rows[:3] == ["| name | edits | source |", "| --- | --- | --- |", "| `off` | nothing | control |"]
    assert [row.split("`")[1] for row in rows[2:]] == list(Registry().names)


def test_an_installed_strategy_is_not_loaded_unless_allowed(offer: Offer) -> None:
    offer("extra", "Extra", "raise RuntimeError('imported')")
    registry = Registry.load()
    assert "extra" not in registry
    assert registry.installed_but_not_allowed() == ("extra",)


def test_an_allowed_strategy_follows_the_built_in_ones(offer: Offer) -> None:
    offer("extra", "Extra", SOUND)
    registry = Registry.load(["extra"])
    assert registry.names[-1] == "extra"
    assert registry.installed_but_not_allowed() == ()


def test_a_name_that_is_allowed_twice_is_loaded_once(offer: Offer) -> None:
    offer("extra", "Extra", SOUND)
    assert Registry.load(["extra", "extra"]).names.count("extra") == 1


@pytest.mark.parametrize(
    ("name", "target", "source", "message"),
    [
        ("extra", "Extra", "import no_such_module", r"cannot be imported: ModuleNotFoundError"),
        ("extra", "Extra", "raise SystemError('mine')", r"cannot be imported: SystemError\('mine'\)"),
        ("extra", "Missing", SOUND, "cannot be imported: AttributeError"),
        ("extra", "not_a_strategy", SOUND, "5 is no subclass"),
        ("extra", "Extra", SOUND.replace("version = 1", "version = 0"), "`version` is 0"),
        ("extra", "Extra", SOUND.replace('"extra"', '"Extra!"'), "`name` is 'Extra!'"),
        ("other", "Extra", SOUND, "the entry point `other` leads to a strategy that calls itself `extra`"),
        ("perturb", "Extra", SOUND.replace('"extra"', '"perturb"'), "`perturb` is the name of"),
    ],
)
def test_a_broken_plug_in_is_an_error_that_names_the_cause(
    offer: Offer, name: str, target: str, source: str, message: str
) -> None:
    offer(name, target, source)
    with pytest.raises(RegistryError, match=message):
        Registry.load([name])


def test_an_allowed_strategy_that_is_not_installed_gets_near_names(offer: Offer) -> None:
    offer("extra", "Extra", SOUND)
    with pytest.raises(RegistryError, match=r"`extras` is allowed but not installed. Did you mean `extra`\?"):
        Registry.load(["extras"])


def test_two_distributions_that_offer_one_name_are_refused(offer: Offer) -> None:
    offer("extra", "Extra", SOUND)
    offer("extra", "Extra", SOUND)
    with pytest.raises(RegistryError, match="offered more than once"):
        Registry.load(["extra"])


def test_the_registry_cannot_be_changed() -> None:
    registry = Registry()
    with pytest.raises(TypeError):
        registry["extra"] = Off()  # type: ignore[index]


@pytest.mark.parametrize("line", ["pool;name=a, pool;name=b", "auto, recase, pool;name=a", "auto, auto"])
def test_one_strategy_at_most_stands_for_others(line: str) -> None:
    with pytest.raises(BadParameter, match="each stands for other strategies; name one of them"):
        Registry().bind(parse_mitigation(line))


def test_changed_tokens_are_asked_of_what_edits_and_not_of_what_stands_for_it() -> None:
    with pytest.raises(BadParameter, match="`auto` changes no tokens itself; to redo an edit"):
        Registry().bind(parse_mitigation("auto;tokens=3"))

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import pytest

from unhitch.registry import Registry
from unhitch_server.policy import reload
from unhitch_server.policy.errors import InvalidPolicy
from unhitch_server.policy.reload import Policies

TEXT = "upstreams: {main: {urls: [http://a]}}\npolicies: {strict: {mitigation: bare}}\ndefault: strict\n"
OTHER = TEXT.replace("bare", "recase")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(TEXT)
    return path


def write(file: Path, text: str) -> None:
    """As editors and deployments do: whole, in place of the old one."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def held(policies: Policies) -> str:
    return policies.current.document.policies["strict"].mitigation


def test_a_changed_file_is_in_force_after_the_next_look(file: Path) -> None:
    policies = Policies.of_file(file, Registry())
    write(file, OTHER)
    assert held(policies) == "bare"
    policies.look()
    assert held(policies) == "recase"


def test_a_broken_file_leaves_the_policies_as_they_are_and_is_logged_once(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    policies = Policies.of_file(file, Registry())
    before = policies.current
    write(file, OTHER + "rules: [{policy: nobody}]\n")
    with caplog.at_level(logging.ERROR, "unhitch_server"):
        for _ in range(3):
            policies.look()
    assert policies.current is before
    assert policies.problem is not None
    assert [record.getMessage().count(f"{file}:4: rules[0].policy: ") for record in caplog.records] == [1]


def test_a_mended_file_is_taken_and_the_problem_gone(file: Path) -> None:
    policies = Policies.of_file(file, Registry())
    write(file, "policies: [")
    policies.look()
    write(file, OTHER)
    policies.look()
    assert (held(policies), policies.problem) == ("recase", None)


def test_a_file_that_was_only_touched_is_not_read_again(file: Path) -> None:
    policies = Policies.of_file(file, Registry())
    before = policies.current
    os.utime(file, ns=(1, 1))
    policies.look()
    assert policies.current is before


def test_a_missing_file_keeps_the_policies_and_its_return_is_seen(file: Path) -> None:
    policies = Policies.of_file(file, Registry())
    file.unlink()
    policies.look()
    assert held(policies) == "bare"
    assert policies.problem is not None
    write(file, TEXT)
    policies.look()
    assert policies.problem is None


def test_reloading_on_demand_says_whether_the_file_is_in_force(file: Path) -> None:
    policies = Policies.of_file(file, Registry())
    write(file, OTHER)
    assert policies.reload()
    assert held(policies) == "recase"
    write(file, "default: x")
    assert not policies.reload()
    assert not policies.reload()
    assert held(policies) == "recase"


def test_other_upstreams_take_a_restart_and_nothing_of_such_a_file_is_taken(file: Path) -> None:
    policies = Policies.of_file(file, Registry())
    write(file, OTHER.replace("http://a", "http://b"))
    assert not policies.reload()
    assert held(policies) == "bare"
    assert str(policies.problem) == (
        f"{file}:1: upstreams: upstreams changed, which takes a restart; nothing of the file was taken"
    )


def test_a_decision_outlives_the_policies_that_made_it(file: Path) -> None:
    policies = Policies.of_file(file, Registry())
    decision = policies.current.decide([])
    write(file, OTHER)
    policies.look()
    assert [step.strategy.name for step in decision.steps] == ["bare"]


def test_the_environment_counts_after_a_reload_too(file: Path) -> None:
    environ = {"UNHITCH_POLICY__policies__strict__on_failure": "open"}
    policies = Policies.of_file(file, Registry(), environ=environ)
    write(file, OTHER)
    policies.look()
    assert policies.current.decide([]).fail_open


def test_a_file_without_upstreams_needs_one_from_the_command_line(file: Path) -> None:
    write(file, TEXT.split("\n", 1)[1])
    with pytest.raises(InvalidPolicy, match="--upstream"):
        Policies.of_file(file, Registry())
    assert Policies.of_file(file, Registry(), upstream="http://e").current.document.upstreams["main"]


def test_a_file_that_cannot_be_read_stops_the_proxy_at_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidPolicy, match="cannot be read: No such file"):
        Policies.of_file(tmp_path / "none.yaml", Registry())


def test_policies_of_options_have_nothing_to_reload(file: Path) -> None:
    fixed = Policies(Policies.of_file(file, Registry()).current)
    write(file, OTHER)
    fixed.look()
    assert fixed.reload()
    assert held(fixed) == "bare"


async def test_the_file_is_watched_as_long_as_the_proxy_runs(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "LOOK_SECONDS", 0.01)
    policies = Policies.of_file(file, Registry())
    async with policies:
        write(file, OTHER)
        async with asyncio.timeout(10):
            while held(policies) != "recase":
                await asyncio.sleep(0.01)
    write(file, TEXT)
    await asyncio.sleep(0.05)
    assert held(policies) == "recase"


async def test_a_file_behind_a_link_is_followed_when_the_link_moves(tmp_path: Path) -> None:
    first, second, link = tmp_path / "1", tmp_path / "2", tmp_path / "policy.yaml"
    first.write_text(TEXT)
    second.write_text(OTHER)
    link.symlink_to(first)
    policies = Policies.of_file(link, Registry())
    link.unlink()
    link.symlink_to(second)
    policies.look()
    assert held(policies) == "recase"

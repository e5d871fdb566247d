from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.evidence import MODEL, NAME, pool, scorecard, strategy
from unhitch.errors import MitigationUnavailable
from unhitch.evidence.library import Library
from unhitch.registry import Registry


def read(*folders: Path) -> Library:
    return Library.read(folders, Registry(), bundled=False)


def test_scorecards_and_pools_of_all_folders_are_read(tmp_path: Path) -> None:
    card, vetted = scorecard("perturb"), pool()
    card.write(tmp_path / "one" / "a.json")
    vetted.write(tmp_path / "two" / "b.json")
    library = read(tmp_path / "one", tmp_path / "two")
    assert [each.card for each in library.scorecards] == [card]
    assert [each.pool for each in library.pools] == [vetted]
    assert library.unreadable == ()


def test_a_scorecard_that_lies_in_two_places_counts_once(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        scorecard("perturb").write(tmp_path / name)
    assert len(read(tmp_path).scorecards) == 1


def test_the_latest_stands_first(tmp_path: Path) -> None:
    for day in (2, 9, 5):
        scorecard("perturb", at=f"2026-01-0{day}T00:00:00Z").write(tmp_path / f"{day}.json")
    assert [each.made_at[:10] for each in read(tmp_path).scorecards] == ["2026-01-09", "2026-01-05", "2026-01-02"]


def altered(folder: Path) -> None:
    scorecard("perturb", passed=False).write(folder / "x.json")
    text = (folder / "x.json").read_text().replace('"passed": false', '"passed": true')
    (folder / "x.json").write_text(text)


def test_a_scorecard_that_was_altered_by_hand_is_named_and_not_used(tmp_path: Path) -> None:
    altered(tmp_path)
    library = read(tmp_path)
    assert library.scorecards == ()
    assert "x.json is not as it was written" in library.unreadable[0].reason


@pytest.mark.parametrize("content", ["{", "[]", '{"kind": "recipe"}', "[" * 100_000])
def test_other_json_is_named_and_not_used(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    (only,) = read(tmp_path).unreadable
    assert only.reason.startswith("x.json ")
    assert str(tmp_path) not in only.reason


def test_a_scorecard_of_another_format_is_named_and_not_used(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps({"kind": "scorecard", "format": 9}))
    assert "format 9" in read(tmp_path).unreadable[0].reason


def test_a_folder_that_is_not_there_is_named_and_read_once_it_is(tmp_path: Path) -> None:
    library = read(tmp_path / "later")
    assert library.unreadable[0].reason == "later is no folder that can be read."
    scorecard("perturb").write(tmp_path / "later" / "a.json")
    assert len(library.refreshed().scorecards) == 1


@pytest.mark.parametrize("line", ["pool;name=vetted", "auto", "off", "best-of;n=2, perturb", "perturb, auto"])
def test_a_pool_of_what_is_no_edit_is_refused(tmp_path: Path, line: str) -> None:
    pool("perturb;seed=1", line).write(tmp_path / "x.json")
    library = read(tmp_path)
    assert library.pools == ()
    assert library.unreadable[0].reason.startswith(f"x.json: variant 1 (`{line}`) is no edit")


def test_a_pool_that_this_version_cannot_make_is_refused_and_says_so_to_who_asks_for_it(tmp_path: Path) -> None:
    pool("perturb;version=99;seed=1").write(tmp_path / "x.json")
    library = read(tmp_path)
    assert library.pools == ()
    with pytest.raises(MitigationUnavailable, match=r"'vetted' is of no use: x.json: variant 0 .* version 1 is"):
        library.view(NAME, MODEL).pool("vetted")


def test_nothing_changed_is_the_same_library(tmp_path: Path) -> None:
    scorecard("perturb").write(tmp_path / "a.json")
    library = read(tmp_path)
    assert library.refreshed() is library


def test_files_that_come_change_and_go_make_another_and_only_they_are_read(tmp_path: Path) -> None:
    scorecard("perturb").write(tmp_path / "a.json")
    first = read(tmp_path)
    scorecard("bare").write(tmp_path / "b.json")
    second = first.refreshed()
    assert {each.names for each in second.scorecards} == {("perturb",), ("bare",)}
    assert first.scorecards[0] in second.scorecards
    scorecard("recase").write(tmp_path / "b.json")
    third = second.refreshed()
    assert {each.names for each in third.scorecards} == {("perturb",), ("recase",)}
    (tmp_path / "a.json").unlink()
    assert {each.names for each in third.refreshed().scorecards} == {("recase",)}
    assert [each.names for each in first.scorecards] == [("perturb",)]


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    os.symlink(tmp_path / "gone", tmp_path / "x.json")
    assert read(tmp_path).unreadable[0].reason.startswith("x.json cannot be read")


def test_what_ships_with_unhitch_is_read_too_and_is_sound() -> None:
    assert Library.read([], Registry()).unreadable == ()


def test_a_scorecard_of_another_version_is_kept_though_it_cannot_be_made(tmp_path: Path) -> None:
    was = strategy("perturb").model_copy(update={"mitigation": "perturb;version=99;edits=10"})
    scorecard(was).write(tmp_path / "a.json")
    (only,) = read(tmp_path).scorecards
    assert (only.steps, only.names) == (None, ("perturb",))

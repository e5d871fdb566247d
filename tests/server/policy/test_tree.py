from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unhitch_server.policy.tree import MAX_BYTES, MAX_DEPTH, NoTree, read_tree


def data(text: str) -> Any:
    return read_tree(text.encode()).data


def faults(text: str | bytes) -> list[tuple[int, str]]:
    with pytest.raises(NoTree) as caught:
        read_tree(text if isinstance(text, bytes) else text.encode())
    return caught.value.faults


@pytest.mark.parametrize("word", ["off", "no", "on", "yes", "2026-11-24", "1:30", "010", "0x1f", "1_000", ".nan"])
def test_words_that_yaml_1_1_guesses_at_stay_text(word: str) -> None:
    assert data(f"a: {word}") == {"a": word}


def test_numbers_booleans_and_nothing_are_what_they_look_like() -> None:
    assert data("[1, -2, 2.5, 1e3, true, False, ~, null, '1', \"true\"]") == [
        1, -2, 2.5, 1000.0, True, False, None, None, "1", "true",
    ]  # fmt: skip
    assert data("a:\n") == {"a": None}


def test_every_key_and_member_knows_its_line() -> None:
    tree = read_tree(b"a:\n  b: 1\n  c:\n    - x\n    - {d: 2,\n       e: 3}\n")
    assert tree.lines == {
        ("a",): 1, ("a", "b"): 2, ("a", "c"): 3, ("a", "c", 0): 4, ("a", "c", 1): 5, ("a", "c", 1, "d"): 5,
        ("a", "c", 1, "e"): 6,
    }  # fmt: skip


def test_a_key_that_stands_twice_is_refused_whatever_stands_between() -> None:
    assert faults("a: 1\nb: 2\na: 3\n") == [(3, "the key 'a' stands twice among its neighbours")]
    assert faults("{x: {a: 1,\n 'a': 2}}")[0][0] == 2
    assert data("x: {a: 1}\ny: {a: 2}") == {"x": {"a": 1}, "y": {"a": 2}}


def test_anchors_aliases_and_tags_are_all_named_at_once() -> None:
    found = faults("a: &x [1]\nb: *x\nc: !!python/object:os.system 3\n")
    assert [line for line, _ in found] == [1, 2, 3]
    assert "&x" in found[0][1]
    assert "*x" in found[1][1]
    assert "python" in found[2][1]


def test_a_merge_key_is_a_key_like_any_other() -> None:
    assert data("<<: {a: 1}") == {"<<": {"a": 1}}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [1\nb: 2", 2), ("a: b\n c: d", 2), ("a\n---\nb", 2),
        ("x:\n  ? [1, 2]\n  : 3", 2), ("x: \"\\U99999999\"", 1),
        (b"a: 1\nb: \xff", 2), (b"a: 1\nb: \x01", 2), (b"\n" * 3 + b"[" * 20, 4),
    ],
)  # fmt: skip
def test_what_is_no_plain_document_is_refused_with_its_line(text: str | bytes, line: int) -> None:
    assert faults(text)[0][0] == line


def test_size_and_depth_are_bounded() -> None:
    assert "bytes" in faults("#" * (MAX_BYTES + 1))[0][1]
    assert data("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert "levels" in faults("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))[0][1]


@given(st.binary(max_size=200) | st.text(alphabet="ab:-?&*!|>'\"[]{},#%\\ \n\t~@0e.x", max_size=80).map(str.encode))
def test_any_bytes_give_a_tree_or_lines_with_faults(raw: bytes) -> None:
    last = len(raw.decode("utf-8", "replace").splitlines()) + 1
    found: list[tuple[int, str]] = []
    try:
        at = list(read_tree(raw).lines.values())
    except NoTree as error:
        found = error.faults
        at = [line for line, _ in found]
        assert_named(found)
    assert all(1 <= line <= last for line in at)


def assert_named(found: list[tuple[int, str]]) -> None:
    assert found
    assert all(message for _, message in found)

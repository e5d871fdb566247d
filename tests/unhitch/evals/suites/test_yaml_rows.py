import pytest

from unhitch.errors import InvalidSuite
from unhitch.evals.suites import yaml_rows


def test_every_mapping_knows_its_line_and_those_of_its_values() -> None:
    first, second = yaml_rows.load("- id: a\n  text: one\n\n- id: b\n  more:\n    - deep: 1\n", "f.yaml")
    assert (first.place(), first.place("text")) == ("f.yaml:1", "f.yaml:2")
    assert (second.place(), second.place("more")) == ("f.yaml:4", "f.yaml:5")
    assert second["more"][0].place() == "f.yaml:6"


def test_aliases_stand_for_what_they_were_anchored_to() -> None:
    first, second = yaml_rows.load("- words: &w [one, two]\n- words: *w\n", "f.yaml")
    assert second["words"] == first["words"] == ["one", "two"]


def test_merge_keys_fill_in_what_a_mapping_does_not_say_itself() -> None:
    _, second = yaml_rows.load("- &base {kind: x, size: 1}\n- <<: *base\n  size: 2\n", "f.yaml")
    assert second == {"kind": "x", "size": 2}


def test_the_anchored_mapping_may_be_merged_before_it_is_constructed_itself() -> None:
    document = yaml_rows.load("a: &a {one: 1}\nb: &b\n  <<: *a\n  one: 2\nc:\n  <<: *b\n  one: 3\n", "f.yaml")
    assert (document["b"], document["c"]) == ({"one": 2}, {"one": 3})


def test_a_key_that_stands_twice_is_an_error_with_its_line() -> None:
    with pytest.raises(InvalidSuite, match="f.yaml:3: no YAML: the key 'id' stands twice"):
        yaml_rows.load("id: a\ntext: b\nid: c\n", "f.yaml")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("- id: a\n  text: [one\n- id: b\n", 3),
        ("a: 1\n\tb: 2\n", 2),
        ("- *nobody\n", 1),
        ("a: 1\nb: !!python/object/apply:os.getcwd []\n", 2),
        ("a: 1\nb: \x07\n", 2),
        ("a: 1\n---\nb: 2\n", 2),
    ],
)
def test_broken_or_unsafe_yaml_is_named_with_its_line(text: str, line: int) -> None:
    with pytest.raises(InvalidSuite, match=f"^f.yaml:{line}: no YAML"):
        yaml_rows.load(text, "f.yaml")


def test_a_date_that_is_none_is_an_error() -> None:
    with pytest.raises(InvalidSuite, match="put the value in quotes"):
        yaml_rows.load("day: 2031-13-45\n", "f.yaml")


def test_nesting_without_end_is_an_error() -> None:
    with pytest.raises(InvalidSuite, match="nested too deeply"):
        yaml_rows.load("[" * 20_000, "f.yaml")

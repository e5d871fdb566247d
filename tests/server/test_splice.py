import json
import random

import pytest

from unhitch.errors import InvalidBody
from unhitch_server import splice

ODD = '{ "a" : 1e2,\t"n": 123456789012345678901234567890, "s": "\\u00e9 \\"}{ é 🙂", "a": [1, {"b": [] }], "t": true }'


def test_a_new_member_is_appended_and_all_other_bytes_stay() -> None:
    assert splice.put(ODD, {"x": "[1]"}) == ODD[: -len(" }")] + ',"x":[1] }'


def test_a_member_that_stands_twice_is_set_where_the_last_stood() -> None:
    assert splice.put('{"a":1, "b":2, "a":3}', {"a": "9"}) == '{"b":2, "a":9}'


def test_a_member_is_added_to_an_empty_object() -> None:
    assert splice.put(" { } ", {"a": "1"}).replace(" ", "") == '{"a":1}'


def test_put_gives_what_parsing_and_setting_gives() -> None:
    source = random.Random(3)
    for _ in range(300):
        fields = {source.choice("abcdef"): source.choice([1, "x", None, [1, {"a": 2}], {"q": "}"}]) for _ in range(4)}
        text = json.dumps(fields, indent=source.choice([None, 2]))
        values = {key: source.choice(["1", '"y"', "null", "[]"]) for key in source.sample("abcdefgh", 2)}
        expected = fields | {key: json.loads(value) for key, value in values.items()}
        assert json.loads(splice.put(text, values)) == expected


def test_a_member_is_taken_out_and_what_stands_between_the_others_stays() -> None:
    assert splice.without(ODD, "a") == '{ "n": 123456789012345678901234567890, "s": "\\u00e9 \\"}{ é 🙂", "t": true }'
    assert splice.without(ODD, "t") == ODD.replace(', "t": true', "")
    assert splice.without(ODD, "x") == ODD
    assert splice.without('{"a":1 , "a":2}', "a") == "{}"


def test_without_gives_what_parsing_and_deleting_gives() -> None:
    source = random.Random(4)
    for _ in range(300):
        fields = {source.choice("abcdef"): source.choice([1, "x", None, [1, {"a": 2}], {"a": "}"}]) for _ in range(4)}
        text, name = json.dumps(fields, indent=source.choice([None, 2])), source.choice("abcdef")
        expected = {key: value for key, value in fields.items() if key != name}
        assert json.loads(splice.without(text, name)) == expected


def test_members_give_the_places_of_keys_and_values() -> None:
    found = [(m.key, ODD[m.value_start : m.stop]) for m in splice.members(ODD)]
    assert [key for key, _ in found] == ["a", "n", "s", "a", "t"]
    assert found[0][1] == "1e2"
    assert found[3][1] == '[1, {"b": [] }]'


def test_elements_give_the_places_of_an_arrays_elements() -> None:
    text = '[ 1, {"a": ","} ,[]]'
    assert [text[a:b] for a, b in splice.elements(text, 0)] == ["1", '{"a": ","}', "[]"]
    assert list(splice.elements("[ ]", 0)) == []


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a"}', '{"a":1,}', '{"a":1 "b":2}', "{1:2}", '{"a":}', "nul"])
def test_what_is_no_object_is_refused_with_the_character(text: str) -> None:
    with pytest.raises(InvalidBody, match="character"):
        list(splice.members(text))

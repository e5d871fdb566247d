import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unhitch.errors import HeadersTooLarge, InvalidBody
from unhitch_server.access import bounds

JSON = st.recursive(
    st.none() | st.integers() | st.text(alphabet='ab"\\[]{}é\n\u2028') | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(alphabet='a"\\[{'), inner, max_size=4),
    max_leaves=40,
)


def depth(value: Any) -> int:
    """The depth by decoding: what the scan has to come to."""
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def is_too_deep(body: bytes, most: int) -> bool:
    try:
        bounds.check_depth(body, most)
    except InvalidBody:
        return True
    return False


@given(JSON, st.booleans())
def test_the_scan_finds_the_depth_that_a_decoder_finds(value: Any, ascii_only: bool) -> None:
    body, true = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"), depth(value)
    assert not is_too_deep(body, true)
    assert true == 0 or is_too_deep(body, true - 1)


@given(st.text(alphabet='[]{}"\\a,:', max_size=60).map(str.encode))
def test_what_is_no_json_is_as_deep_as_the_part_of_it_that_is(body: bytes) -> None:
    """A decoder reads from the left, and so comes no deeper than it would if the first fault were mended."""
    deepest = level = 0
    quoted = escaped = False
    for byte in body.decode():
        if quoted:
            quoted, escaped = (byte != '"' or escaped), (byte == "\\" and not escaped)
        elif byte == "\\":
            break  # no JSON from here on
        elif byte == '"':
            quoted = True
        else:
            level += (byte in "[{") - (byte in "]}")
            deepest = max(deepest, level)
    assert deepest == 0 or is_too_deep(body, deepest - 1)


def test_a_slice_boundary_within_a_string_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "_SLICE", 3)
    body = json.dumps({"a": '[["', "b": [[["x"]], {"c": '{"{'}]}).encode()
    assert not is_too_deep(body, 4)
    assert is_too_deep(body, 3)


def test_a_body_deeper_than_allowed_is_refused() -> None:
    bounds.check_depth(b"[" * 128 + b"]" * 128)
    with pytest.raises(InvalidBody, match="more than 128 levels deep"):
        bounds.check_depth(b"[" * 129 + b"]" * 129)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_an_encoding_that_hides_brackets_from_the_scan_is_refused(encoding: str) -> None:
    with pytest.raises(InvalidBody, match="not in UTF-8"):
        bounds.check_depth('{"a": 1}'.encode(encoding))


@pytest.mark.parametrize("body", [b"[]" * 2**24, b'"",' * 2**23, b'"' + b'\\"' * 2**24, b'{"a":"' + b"word " * 2**23])
def test_no_body_takes_long_to_scan(body: bytes) -> None:
    start = time.perf_counter()
    bounds.check_depth(body)
    assert time.perf_counter() - start < 5


def test_too_many_messages_are_refused() -> None:
    bounds.check_messages({"messages": [0] * 5, "input": "text"}, 5)
    for name in ("messages", "input"):
        with pytest.raises(InvalidBody, match=f"{name} has 6 entries; 5 are the most"):
            bounds.check_messages({name: [0] * 6}, 5)


def test_too_many_header_lines_or_bytes_are_refused() -> None:
    bounds.check_headers([(b"a", b"12")] * 4, most_bytes=12, most_lines=4)
    for most_bytes, most_lines in ((11, 4), (12, 3)):
        with pytest.raises(HeadersTooLarge, match="4 header lines of 12 bytes"):
            bounds.check_headers([(b"a", b"12")] * 4, most_bytes, most_lines)

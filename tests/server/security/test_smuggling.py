"""Where one request ends and the next begins is decided once: no request hides in another, no answer goes astray."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from pathlib import Path

import pytest
from starlette.types import Send

from tests.server.fake_engine import FakeEngine, Recorded
from tests.server.security.house import (
    CHAT,
    MODEL,
    ROUTES,
    House,
    body,
    document,
    fields,
    houses,
    mitigated,
    request,
    sent_ids,
)
from unhitch import headers as wire

HIDDEN = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nUnhitch-Mitigation: off\r\nContent-Length: 2\r\n"
    b"Connection: close\r\n\r\n{}"
)
"""What an attacker hopes that somebody takes for a request."""


def head(route: str, *lines: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    own = (b"Host: x", b"Content-Type: application/json", b"Connection: close")
    return b"\r\n".join([b"POST " + route.encode() + b" " + version, *own, *lines, b"", b""])


def chunked(plain: bytes, size: int = 40, extension: bytes = b"", trailer: bytes = b"") -> bytes:
    pieces = [plain[at : at + size] for at in range(0, len(plain), size)]
    return b"".join(b"%x%s\r\n%s\r\n" % (len(each), extension, each) for each in pieces) + b"0\r\n" + trailer + b"\r\n"


CHUNKED = b"Transfer-Encoding: chunked"


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("extension", "trailer"),
    [
        (b"", b""),
        (b";unhitch-mitigation=off", b""),
        (b';a="b"', b""),
        (b"", b"Unhitch-Mitigation: off\r\n"),
        (b"", b"unhitch-policy: lax\r\nContent-Length: 0\r\n"),
    ],
    ids=["plain", "extension", "quoted extension", "trailer", "trailers"],
)
def test_a_chunked_body_is_edited_and_what_stands_between_and_behind_its_chunks_is_no_wish(
    locked: House, ruled: House, route: str, extension: bytes, trailer: bytes
) -> None:
    for house in (locked, ruled):
        house.send(head(route, CHUNKED, b"Trailer: Unhitch-Mitigation"), chunked(body(route), 40, extension, trailer))
        assert all(map(mitigated, house.reached))  # a trailer of ours may be refused as well
        if not trailer and b"=off" not in extension:
            assert len(house.reached) == 1


def lengths(route: str) -> dict[str, bytes]:
    """Requests whose length two readers could see differently; HIDDEN stands where the one or the other ends."""
    plain = body(route)
    length = b"Content-Length: %d" % len(plain)
    with_hidden = b"Content-Length: %d" % (len(plain) + len(HIDDEN))
    in_chunks = chunked(plain)
    codings = {
        "identity first": [b"Transfer-Encoding: identity, chunked"],
        "chunked twice": [b"Transfer-Encoding: chunked, chunked"],
        "two lines": [CHUNKED, b"Transfer-Encoding: identity"],
        "not last": [b"Transfer-Encoding: chunked, gzip"],
        "space before the colon": [b"Transfer-Encoding : chunked"],
        "tab before the colon": [b"Transfer-Encoding\t: chunked"],
        "tab before the value": [b"Transfer-Encoding:\tchunked"],
        "vertical tab": [b"Transfer-Encoding: \x0bchunked"],
        "capitals": [b"TRANSFER-ENCODING: CHUNKED"],
        "another word": [b"Transfer-Encoding: xchunked"],
        "a quoted word": [b'Transfer-Encoding: "chunked"'],
        "a comma": [b"Transfer-Encoding: chunked,"],
        "a parameter": [b"Transfer-Encoding: chunked;q=1"],
        "folded": [b"Transfer-Encoding:\r\n chunked"],
        "folded within": [b"X: x\r\n Transfer-Encoding: chunked"],
        "a bare line feed before": [b"X: x\nTransfer-Encoding: chunked"],
        "a bare carriage return before": [b"X: x\rTransfer-Encoding: chunked"],
        "a NUL": [b"Transfer-Encoding: chunked\0"],
        "an underscore": [b"Transfer_Encoding: chunked"],
        "named hop-by-hop": [b"Connection: Transfer-Encoding", CHUNKED],
    }
    numbers = {
        "plus": b"+%d" % len(plain),
        "minus": b"-%d" % len(plain),
        "hexadecimal": b"0x%x" % len(plain),
        "a list": b"%d, %d" % (len(plain), len(plain)),
        "two in a list": b"%d, 0" % len(plain),
        "a space within": b"1 %d" % len(plain),
        "underscores": b"_".join(b"%c" % digit for digit in b"%d" % len(plain)),
        "beyond 64 bits": b"%d" % (2**64 + len(plain)),
        "a fraction": b"%d.0" % len(plain),
        "empty": b"",
        "other digits": "٣".encode(),
        "folded": b"\r\n %d" % len(plain),
        "a NUL": b"%d\0" % len(plain),
    }
    both = {f"both, {name}": head(route, length, *lines) for name, lines in codings.items()}
    found = {name: start + in_chunks + HIDDEN for name, start in both.items()}
    found |= {
        f"{name}, then the length": head(route, *lines, length) + plain + HIDDEN for name, lines in codings.items()
    }
    found |= {f"{name} alone": head(route, *lines) + in_chunks + HIDDEN for name, lines in codings.items()}
    found |= {
        f"length: {name}": head(route, b"Content-Length: " + value) + plain + HIDDEN for name, value in numbers.items()
    }
    found |= {
        "two lengths, short first": head(route, length, with_hidden) + plain + HIDDEN,
        "two lengths, long first": head(route, with_hidden, length) + plain + HIDDEN,
        "the same length twice": head(route, length, length) + plain + HIDDEN,
        "lengths of odd case": head(route, length, b"content-LENGTH: 0") + plain + HIDDEN,
        "no length": head(route) + plain + HIDDEN,
        "chunks in HTTP/1.0": head(route, CHUNKED, version=b"HTTP/1.0") + in_chunks + HIDDEN,
        "HTTP/0.9": b"POST " + route.encode() + b"\r\n\r\n" + HIDDEN,
        "HTTP/2.0": head(route, length, version=b"HTTP/2.0") + plain + HIDDEN,
        "a negative chunk": head(route, CHUNKED) + b"-1\r\n" + plain + b"\r\n0\r\n\r\n" + HIDDEN,
        "a chunk beyond 64 bits": head(route, CHUNKED) + b"f" * 17 + b"\r\n" + plain + b"\r\n0\r\n\r\n" + HIDDEN,
        "a chunk as 0x": head(route, CHUNKED) + b"0x%x\r\n%s\r\n0\r\n\r\n" % (len(plain), plain) + HIDDEN,
        "a chunk too long": head(route, CHUNKED) + b"%x\r\n%s\r\n0\r\n\r\n" % (len(plain) - 9, plain) + HIDDEN,
        "chunks ended by bare line feeds": head(route, CHUNKED) + in_chunks.replace(b"\r\n", b"\n") + HIDDEN,
        "a line feed in an extension": head(route, CHUNKED) + chunked(plain, extension=b";x\n") + HIDDEN,
        "a head of bare line feeds": head(route, length).replace(b"\r\n", b"\n") + plain + HIDDEN,
        "an early blank line": b"\r\n" + head(route, length) + plain + HIDDEN,
    }
    return found


@pytest.mark.parametrize("case", lengths(CHAT))
def test_what_has_two_lengths_has_one_or_is_refused_and_nothing_behind_it_is_generated(
    locked: House, ruled: House, case: str
) -> None:
    for house in (locked, ruled):
        answer = house.send(lengths(CHAT)[case], half_close=True)
        assert all(map(mitigated, house.reached)), answer
        assert len(house.reached) <= 1
        # No more answers than requests that can be seen here: the first, and at most the one that should be hidden.
        assert len(re.findall(rb"HTTP/1\.1 \d{3}", answer)) <= 2
        # Who has said all that there is to say may be taken for gone, and gets no answer then.
        assert answer.count(b"HTTP/1.1 200") <= len(house.reached)


@pytest.mark.parametrize(
    "line",
    [
        b"Unhitch-Mitigation : off",
        b"Unhitch-Mitigation\t: off",
        b" Unhitch-Mitigation: off",
        b"X: x\r\n Unhitch-Mitigation: off",
        b"X: x\nUnhitch-Mitigation: off",
        b"X: x\rUnhitch-Mitigation: off",
        b"X: x\r\r\nUnhitch-Mitigation: off",
        b"X: x\0\r\nUnhitch-Mitigation: off",
        b"Unhitch-Mitigation: o\0ff",
        b"Unhitch-Mitigation:\r\n off",
        b"Unhitch-Mitigation:\r\n\toff",
        b"Unhitch-Mitigation",
        b": off",
        b"Unhitch-Mitigation: off\x0b",
        b"\xefUnhitch-Mitigation: off",
        "Unhitch\u2011Mitigation: off".encode(),
    ],
)
def test_a_line_that_is_no_header_or_hides_one_drops_nothing(locked: House, ruled: House, line: bytes) -> None:
    plain = body(CHAT)
    for house in (locked, ruled):
        house.send(head(CHAT, b"Content-Length: %d" % len(plain), line) + plain, half_close=True)
        assert all(map(mitigated, house.reached))
        for each in house.reached:
            assert all(b"\n" not in value and b"\r" not in value and b"\0" not in value for _, value in each.headers)


@pytest.mark.parametrize("offer", [b"h2c", b"websocket", b"TLS/1.0", b"h2c, websocket"])
@pytest.mark.parametrize("apart", [False, True], ids=["one packet", "two packets"])
def test_a_body_behind_an_offer_of_another_protocol_is_no_request(locked: House, offer: bytes, apart: bool) -> None:
    lines = [(b"Connection", b"Upgrade, HTTP2-Settings"), (b"Upgrade", offer), (b"HTTP2-Settings", b"AAMA")]
    sent = request(CHAT, HIDDEN, *lines)
    start = len(sent) - len(HIDDEN)
    answer = locked.send(*((sent[:start], sent[start:]) if apart else (sent,)))
    assert answer.count(b"HTTP/1.1 ") == 1
    assert locked.reached == []


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("offer", [b"h2c", b"websocket"])
def test_a_request_with_such_an_offer_is_served_as_without(locked: House, route: str, offer: bytes) -> None:
    lines = [(b"Connection", b"Upgrade, HTTP2-Settings"), (b"Upgrade", offer), (b"HTTP2-Settings", b"AAMA")]
    assert locked.post(route, body(route), *lines) == 200
    in_pieces = head(route, CHUNKED, b"Connection: upgrade", b"Upgrade: " + offer), chunked(body(route))
    assert b"HTTP/1.1 200" in locked.send(*in_pieces)
    assert len(locked.reached) == 2
    assert all(map(mitigated, locked.reached))
    assert not any(name in (b"upgrade", b"http2-settings") for each in locked.reached for name, _ in each.headers)


def test_requests_one_behind_the_other_are_judged_each_and_answered_in_their_order(locked: House) -> None:
    asked = [("first", []), ("second", [(b"Unhitch-Mitigation", b"off")]), ("third", []), ("fourth", [])]
    sent = [
        request(CHAT, body(CHAT), (b"X-Request-Id", name.encode()), *lines, closes=name == "fourth")
        for name, lines in asked
    ]
    answer = locked.send(b"".join(sent))
    parts = re.findall(rb"HTTP/1\.1 (\d{3}).*?\r\n\r\n(\{.*?\})(?=HTTP/1|$)", answer, re.DOTALL)
    assert [code for code, _ in parts] == [b"200", b"403", b"200", b"200"]
    assert [json.loads(each).get("id") for _, each in parts] == ["first", None, "third", "fourth"]
    assert [each.header("x-request-id") for each in locked.reached] == ["first", "third", "fourth"]
    assert all(map(mitigated, locked.reached))


def test_a_request_refused_before_its_body_was_read_leaves_no_next_one_behind(tmp_path: Path) -> None:
    with houses(tmp_path, {"policy": document(), "max_body_bytes": 100}) as started:
        house = started.others[0]
        large = b"x" * 90 + HIDDEN * 3
        answer = house.send(request(CHAT, large))
        assert answer.count(b"HTTP/1.1 ") == 1
        assert answer.startswith(b"HTTP/1.1 413")
        assert [each for each in house.reached if b"unhitch" in each.body] == []


async def _slowly(engine: FakeEngine, request: Recorded, send: Send) -> None:
    await asyncio.sleep(0.3)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"slow"})


def test_the_refusal_of_what_is_no_request_is_not_taken_for_the_answer_to_an_earlier_one(locked: House) -> None:
    locked.engine.routes["/slow"] = _slowly
    answer = locked.send(request("/slow", b"", method="GET", closes=False), b"NO REQUEST AT ALL\r\n\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.endswith(b"\r\n\r\nslow")


@pytest.mark.parametrize("text", ["x\r\nSet-Cookie: a=b", "x\nInjected: 1", "x\r\n\r\n<html>", "x\0y", "x\u2028y", "é"])
def test_no_text_in_our_headers_ends_them(text: str) -> None:
    applied = wire.format_applied([wire.Applied("system", {"text": text}, version=1, tokens=3)])
    receipt = wire.Receipt(b"x" * 32, b"y" * 32, b"z" * 32, model=text)
    for value in (applied, wire.format_receipt(receipt)):
        assert re.fullmatch(r"[ -~]+", value)


@pytest.mark.parametrize("text", ["m\r\nSet-Cookie: a=b", "m\n\nx", 'm"; injected="1'])
def test_a_models_name_comes_back_in_no_header_that_it_could_end(locked: House, ruled: House, text: str) -> None:
    for house in (locked, ruled):
        for route in ROUTES:
            answer = house.send(request(route, json.dumps(fields(route, model=text)).encode()))
            start = answer.partition(b"\r\n\r\n")[0].lower()
            assert b"set-cookie" not in start
            assert b"injected" not in start


def test_no_session_and_no_policy_comes_back_or_goes_on(locked: House) -> None:
    for name in (b"Unhitch-Session", b"Unhitch-Policy", b"Unhitch-Mitigation"):
        for value in (b'%"%0d%0aSet-Cookie: a=b"', b'"x\\r\\nSet-Cookie: a=b"', b"x\r\n Set-Cookie: a=b"):
            answer = locked.send(request(CHAT, body(CHAT), (name, value)))
            assert b"\r\nset-cookie" not in answer.lower()
            assert answer.count(b"\r\n\r\n") == 1
    assert locked.reached == []


def test_equal_questions_at_once_get_their_own_answers(locked: House) -> None:
    """Ids go through, so that each answer tells whose it is."""
    wrong: list[bytes] = []

    def ask(number: int) -> None:
        name = f"caller-{number}".encode()
        answer = locked.send(request(CHAT, body(CHAT, f"Question {number}?"), (b"X-Request-Id", name)))
        if b'"id": "' + name + b'"' not in answer:
            wrong.append(answer)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(40)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert wrong == []
    assert len({tuple(sent_ids(each) or ()) for each in locked.reached}) == 40
    assert all(each.json["model"] == MODEL for each in locked.reached)

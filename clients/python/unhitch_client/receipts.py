"""Receipts: what the proxy says was done to a request, read from the headers of its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import http_sf

from unhitch import headers
from unhitch.errors import HeaderError
from unhitch.headers import Applied, Asked, Value
from unhitch_client.errors import NotFromUnhitch, NotMitigated
from unhitch_client.mitigations import Asking, entries

SERVER_TIMING = "Server-Timing"
"""Response: milliseconds spent in the proxy, under the name `unhitch`."""


class HasHeaders(Protocol):
    """A response of httpx, or a raw or streamed response of the openai package."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers."""


class HasResponse(Protocol):
    """A stream of chunks, or an `APIStatusError`, of the openai package."""

    @property
    def response(self) -> HasHeaders:
        """The answer that it came with."""


Answer: TypeAlias = HasHeaders | HasResponse | Mapping[str, str]
"""Whatever gives an answer's headers; names are compared without regard to case."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was done to one request.

    The digests and the model are None where the proxy gave none, as when a request was not rendered.

    Args:
        applied: What was applied, in order, with all parameters; pass it to `extra_headers` to redo it.
        before: SHA-256 of the prompt's token ids as rendered, 32 bytes.
        after: The same, of the ids that the engine was given.
        template: SHA-256 of the chat template's text, 32 bytes.
        model: The model's name as it was asked for.
        duration_milliseconds: Time spent in the proxy, at least 0.
        states: SHA-256 of the files of the states that gave K/V, 32 bytes each, in the order of their positions.
        pool: SHA-256 of the variants of the pool that one was drawn from, 32 bytes.
        scorecard: SHA-256 of the scorecard that the strategy was chosen by, 32 bytes.
        tried: How many answers were generated to return the best of them.
        score: What the scorer gave the one that was returned, from 0 to 100; None where it gave no number.
        generated: How many tokens were generated for all of them; the completion's own usage counts the best one's.
    """

    applied: tuple[Applied, ...]
    before: bytes | None = None
    after: bytes | None = None
    template: bytes | None = None
    model: str | None = None
    duration_milliseconds: float | None = None
    states: tuple[bytes, ...] = ()
    pool: bytes | None = None
    scorecard: bytes | None = None
    tried: int | None = None
    score: float | None = None
    generated: int | None = None

    @property
    def mitigated(self) -> bool:
        """Whether anything but `off` was applied."""
        return any(entry.name != "off" for entry in self.applied)


def receipt(answer: Answer) -> Receipt:
    """The receipt of an answer, plain or streamed, success or error.

    Args:
        answer: What `with_raw_response` or `with_streaming_response` give, a stream, an `APIStatusError`, a response of
            httpx, or a mapping of headers.

    Raises:
        NotFromUnhitch: The answer has no `Unhitch-Applied` header, or one that does not parse.
        TypeError: `answer` holds no headers, such as a completion that was parsed already.
    """
    found = _headers(answer)
    applied = _applied(found)
    digests = _digests(found)
    return Receipt(
        applied=applied,
        before=_bytes(digests, "before"),
        after=_bytes(digests, "after"),
        template=_bytes(digests, "template"),
        model=None if (model := digests.get("model")) is None else str(model),
        duration_milliseconds=_duration(found.get(SERVER_TIMING.lower(), "")),
        states=_states(digests),
        pool=_bytes(digests, "pool"),
        scorecard=_bytes(digests, "scorecard"),
        tried=_count(digests.get("tried")),
        score=None if (score := digests.get("score")) is None else _number(str(score)),
        generated=_count(digests.get("generated")),
    )


def require(answer: Answer, *mitigations: Asking) -> Receipt:
    """The receipt of an answer, if what it says is what was required.

    Args:
        answer: As for `receipt`.
        mitigations: What must have been applied: these names in this order, each with at least these parameter values
            (those that are None may be any). Without one, anything but `off` will do.

    Raises:
        NotFromUnhitch: The answer does not say what was done.
        NotMitigated: Something else was done; the message gives both.
        HeaderError: A text among `mitigations` does not parse.
        TypeError: `answer` holds no headers.
    """
    got = receipt(answer)
    asked = entries(*mitigations)
    met = _all_meet(got.applied, asked) if asked else got.mitigated
    if not met:
        wanted = f"`{headers.format_applied(asked)}`" if asked else "a mitigation"
        raise NotMitigated(
            f"{wanted} was required, and the answer says `{headers.format_applied(got.applied)}`. Send the mitigation "
            "with `extra_headers`, or ask the operator what the proxy's policy is.",
            param=headers.APPLIED,
        )
    return got


def _headers(answer: Answer) -> dict[str, str]:
    carrier = getattr(answer, "response", answer)
    source: Any = answer if isinstance(answer, Mapping) else getattr(carrier, "headers", None)
    if not isinstance(source, Mapping):
        raise TypeError(
            f"a {type(answer).__name__} holds no headers. Call `client.chat.completions.with_raw_response.create`, "
            "take the receipt of what it returns, and the completion from its `parse()`."
        )
    found: dict[str, str] = {}
    for name, value in source.items():
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _applied(found: Mapping[str, str]) -> tuple[Applied, ...]:
    value = found.get(headers.APPLIED.lower())
    if value is None:
        raise NotFromUnhitch(
            f"The answer has no {headers.APPLIED} header, so take it as unmitigated. Check that the client's base URL "
            "leads to the proxy and not to the engine, and that nothing on the way drops response headers.",
            param=headers.APPLIED,
        )
    try:
        return tuple(_entry(asked) for asked in headers.parse_mitigation(value))
    except HeaderError as error:
        raise _unreadable(headers.APPLIED, value) from error


def _entry(asked: Asked) -> Applied:
    rest = dict(asked.parameters)
    version, tokens = rest.pop("version", None), rest.pop("tokens", None)
    return Applied(asked.name, rest, version=_count(version), tokens=_count(tokens))


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _digests(found: Mapping[str, str]) -> dict[str, Any]:
    value = found.get(headers.RECEIPT.lower())
    if value is None:
        return {}
    try:
        return {key: member[0] for key, member in http_sf.parse(value.encode(), tltype="dictionary").items()}
    except http_sf.StructuredFieldError as error:
        raise _unreadable(headers.RECEIPT, value) from error


def _bytes(digests: Mapping[str, Any], key: str) -> bytes | None:
    value = digests.get(key)
    return value if isinstance(value, bytes) else None


def _states(digests: Mapping[str, Any]) -> tuple[bytes, ...]:
    members = digests.get("states")
    items = (item[0] for item in members) if isinstance(members, list) else ()
    return tuple(item for item in items if isinstance(item, bytes))


def _duration(timing: str) -> float | None:
    """Milliseconds of the entry `unhitch`; the other entries are not ours and may be malformed."""
    for entry in timing.split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        if name == "unhitch":
            return next((_number(part[4:]) for part in parameters if part.startswith("dur=")), None)
    return None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _unreadable(header: str, value: str) -> NotFromUnhitch:
    return NotFromUnhitch(
        f"The answer's {header} header does not parse: {value[:200]!r}. Something between the proxy and here changed "
        "it, or the proxy is of another version than this client.",
        param=header,
    )


def _all_meet(applied: tuple[Applied, ...], asked: tuple[Applied, ...]) -> bool:
    return len(applied) == len(asked) and all(map(_meets, applied, asked))


def _meets(applied: Applied, asked: Applied) -> bool:
    done, wanted = _values(applied), _values(asked)
    return applied.name == asked.name and all(key in done and done[key] == value for key, value in wanted.items())


def _values(entry: Applied) -> dict[str, Value]:
    reserved = {"version": entry.version, "tokens": entry.tokens}
    return {**entry.parameters, **{key: value for key, value in reserved.items() if value is not None}}

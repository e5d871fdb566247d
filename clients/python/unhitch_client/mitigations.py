"""Mitigations as typed values: one class for each built-in strategy, and one for the strategies of plug-ins.

Fields and defaults are those of the strategies. A field that is None is left out of the header; all others are sent, so
that a log of requests does not depend on anybody's defaults. Ranges are checked by the proxy, whose answer names them.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from unhitch import headers
from unhitch.errors import HeaderError
from unhitch.headers import Applied, Value, Word

_WORD = re.compile(r"[a-z][a-z0-9-]*")
_DECIMAL_PLACES = 3


@dataclass(frozen=True)
class BuiltIn:
    """Base of the built-in mitigations: the dataclass's fields are the parameters."""

    strategy: ClassVar[str]
    """The strategy's name."""

    @property
    def parameters(self) -> dict[str, Value]:
        """Every parameter that has a value."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {key: value for key, value in values.items() if value is not None}


@dataclass(frozen=True)
class Off(BuiltIn):
    """Nothing is edited; stands alone."""

    strategy = "off"


@dataclass(frozen=True, kw_only=True)
class System(BuiltIn):
    """System text is replaced, dropped, prepended or appended.

    Args:
        mode: What is done; `drop` takes neither `text` nor `preset`, the others take one of them.
        text: At most 16,384 characters. Negations in it are flagged in the receipt, since such texts can backfire.
        preset: A text that ships with unhitch.
    """

    strategy = "system"
    mode: Literal["replace", "drop", "prepend", "append"] = "replace"
    text: str | None = None
    preset: Literal["neutral", "tutor", "reference", "empty"] | None = None


@dataclass(frozen=True, kw_only=True)
class Recase(BuiltIn):
    """Letters of the prefix change their case.

    Args:
        mode: Swap the case, all upper, all lower, or the first letter of each word upper.
        letters: How many letters are drawn, 1 to 100,000; None takes 10 for `swap`, and all for the other modes.
        protect: What is kept: control tokens, or these and the user header.
        seed: Keys the draw, 0 to 999,999,999,999,999; None lets the session key it.
    """

    strategy = "recase"
    mode: Literal["swap", "upper", "lower", "title"] = "swap"
    letters: int | None = None
    protect: Literal["special", "header"] = "special"
    seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class Respace(BuiltIn):
    """Whitespace and punctuation of the prefix change.

    Args:
        edits: How many characters are edited, 1 to 1,000.
        kinds: Which characters.
        protect: What is kept: control tokens, or these and the user header.
        seed: Keys the draw, 0 to 999,999,999,999,999; None lets the session key it.
    """

    strategy = "respace"
    edits: int = 10
    kinds: Literal["all", "spaces", "newlines", "punctuation"] = "all"
    protect: Literal["special", "header"] = "special"
    seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class Perturb(BuiltIn):
    """Tokens of a span are replaced by near ones in the input embeddings.

    Args:
        edits: How many tokens are replaced, 1 to 1,000.
        neighbours: Each is replaced by one of so many nearest tokens, 1 to 100.
        metric: Nearest by cosine similarity or dot product.
        span: What stands before the user's words, or the template's text behind them.
        protect: What is kept: nothing, control tokens, or these and the user header.
        seed: Keys the draw, 0 to 999,999,999,999,999; None lets the session key it.
    """

    strategy = "perturb"
    edits: int = 10
    neighbours: int = 5
    metric: Literal["cosine", "dot"] = "cosine"
    span: Literal["prefix", "postfix"] = "prefix"
    protect: Literal["none", "special", "header"] = "none"
    seed: int | None = None


@dataclass(frozen=True)
class Bare(BuiltIn):
    """The template's default prefix is dropped."""

    strategy = "bare"


@dataclass(frozen=True, kw_only=True)
class ServedState(BuiltIn):
    """Base of the two that have K/V served from a state: the unfinetuned model's, by default.

    Args:
        layers: First and last layer that come from the base model, counted from 0, such as "8-15"; None is all.
        parts: Keys and values, or one of them.
        mix: Share of the base model, above 0, at most 1; three decimal places.
        residual: The layer, counted from 0, whose output is the base model's instead; goes with none of the above.
        state: Id of the state, 64 hexadecimal digits; None takes the one that fits.
        capture: Whether a state that is missing is captured on first use.
    """

    layers: str | None = None
    parts: Literal["kv", "k", "v"] = "kv"
    mix: float = 1.0
    residual: int | None = None
    state: str | None = None
    capture: Literal["auto", "never"] = "auto"


@dataclass(frozen=True, kw_only=True)
class PrefixState(ServedState):
    """The prefix's K/V are served from a state."""

    strategy = "prefix-state"


@dataclass(frozen=True, kw_only=True)
class PostfixState(ServedState):
    """The K/V of the template's text behind the user's words are."""

    strategy = "postfix-state"


@dataclass(frozen=True, kw_only=True)
class Pool(BuiltIn):
    """One variant of a pool that was vetted on the served model; the receipt names the variant's own steps.

    Args:
        name: The pool's name, 1 to 64 characters.
        index: Which of its variants, counted from 0; None draws one.
        seed: Keys the draw, 0 to 999,999,999,999,999; None lets the session key it. Not beside `index`.
    """

    strategy = "pool"
    name: str
    index: int | None = None
    seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class BestOf(BuiltIn):
    """Several draws of the mitigations that follow are answered, and the operator's scorer chooses the answer.

    Stands first, as in `extra_headers(BestOf(n=4), Perturb())`; answers are whole (no `stream`, one choice). The
    receipt names the steps of the answer chosen: `require(answer, "perturb")`, and `receipt(answer).tried`.

    Args:
        n: How many draws, 2 to 16.
    """

    strategy = "best-of"
    n: int = 4


@dataclass(frozen=True, kw_only=True)
class Auto(BuiltIn):
    """The strategy with the best scorecard on the served model, which the receipt names.

    Args:
        seed: Keys the draw, 0 to 999,999,999,999,999; None lets the session key it.
    """

    strategy = "auto"
    seed: int | None = None


class Mitigation:
    """A strategy of a plug-in, or a built-in one whose parameters come from elsewhere.

    Args:
        strategy: The strategy's name.
        parameters: Its parameters; decimals with at most three places.
    """

    __slots__ = ("_parameters", "_strategy")

    def __init__(self, strategy: str, /, **parameters: Value) -> None:
        self._strategy = strategy
        self._parameters = parameters

    @property
    def strategy(self) -> str:
        """The strategy's name."""
        return self._strategy

    @property
    def parameters(self) -> dict[str, Value]:
        """A copy of the parameters."""
        return dict(self._parameters)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mitigation) and (self.strategy, self.parameters) == (other.strategy, other.parameters)

    def __hash__(self) -> int:
        return hash((self._strategy, frozenset(self._parameters.items())))

    def __repr__(self) -> str:
        given = "".join(f", {key}={value!r}" for key, value in self._parameters.items())
        return f"Mitigation({self._strategy!r}{given})"


Asking: TypeAlias = BuiltIn | Mitigation | Applied | str
"""A typed mitigation, an entry of an earlier receipt, or the text of an `Unhitch-Mitigation` header."""


def entries(*mitigations: Asking) -> tuple[Applied, ...]:
    """What is asked for, in the form that the header is written from.

    Args:
        mitigations: A text may hold several, separated by commas.

    Raises:
        HeaderError: A text that does not parse, or a value that has no form in a header.
    """
    return tuple(entry for asking in mitigations for entry in _entries(asking))


def header_value(asked: tuple[Applied, ...]) -> str:
    """The value of `Unhitch-Mitigation` for at least one entry.

    Raises:
        HeaderError: A name or value that has no form in a header.
    """
    try:
        return headers.format_applied(asked)
    except ValueError as error:
        raise HeaderError(
            f"{', '.join(repr(entry.name) for entry in asked)} cannot be written as a header: {error}. Names and keys "
            "start with a letter and hold no spaces; values are bool, int of at most 15 digits, float or str.",
            param=headers.MITIGATION,
        ) from error


def _entries(asking: Asking) -> tuple[Applied, ...]:
    if isinstance(asking, Applied):
        return (asking,)
    if isinstance(asking, str):
        return tuple(_entry(asked.name, dict(asked.parameters)) for asked in headers.parse_mitigation(asking))
    return (_entry(asking.strategy, asking.parameters),)


def _entry(name: str, parameters: dict[str, Value]) -> Applied:
    for key, value in parameters.items():
        if isinstance(value, float) and value != round(value, _DECIMAL_PLACES):
            raise HeaderError(
                f"`{name};{key}={value!r}`: a decimal in a header has at most {_DECIMAL_PLACES} places; round it.",
                param=key,
            )
    return Applied(name, {key: _written(value) for key, value in parameters.items()})


def _written(value: Value) -> Value:
    """Text of one lower-case word goes as a word, which means the same and reads better."""
    return Word(value) if isinstance(value, str) and _WORD.fullmatch(value) else value

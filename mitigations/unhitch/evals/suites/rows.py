"""A row of a file that knows where it stands, and what is said when a row is malformed."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from unhitch.errors import InvalidSuite

_Checked = TypeVar("_Checked", bound=BaseModel)


class Row(dict[str, Any]):
    """One row's values by name.

    Args:
        file: The file's name, as messages give it.
        line: Where the row begins, from 1.
        values: What is in it.
    """

    def __init__(self, file: str, line: int, values: Mapping[str, Any] | None = None) -> None:
        super().__init__(values or {})
        self.file = file
        self.line = line
        self.lines: dict[Any, int] = {}
        """Where single values begin, from 1, as far as that is known."""

    def place(self, name: Any = None) -> str:
        """Where the row, or one of its values, stands: "file:line"."""
        return f"{self.file}:{self.lines.get(name, self.line)}"

    def malformed(self, name: str, allowed: str) -> InvalidSuite:
        """The error for one value of the row.

        Args:
            name: Of the value; it may be missing.
            allowed: What the value may be, to follow "it takes".
        """
        received = f"is {shown(self[name])}" if name in self else "is missing"
        return InvalidSuite(f"{self.place(name)}: `{name}` {received}; it takes {allowed}.")


def checked(model: type[_Checked], row: Row) -> _Checked:
    """The row as an instance of a model, whose fields' descriptions say what they take.

    Raises:
        InvalidSuite: A value is missing or malformed; the message has its place, what it is, and what it may be.
    """
    try:
        return model.model_validate(dict(row))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = first["loc"][0] if first["loc"] else ""
        if first["type"] == "extra_forbidden":
            known = ", ".join(model.model_fields)
            raise InvalidSuite(f"{row.place(name)}: there is no member {shown(name)}; allowed are {known}.") from error
        allowed = model.model_fields[str(name)].description if str(name) in model.model_fields else first["msg"]
        raise row.malformed(str(name), str(allowed)) from error


def shown(value: Any) -> str:
    """A value as messages show it, shortened."""
    return _Short().repr(value)


class _Short(reprlib.Repr):
    """Never writes a value out that aliases blow up."""

    repr_Row = reprlib.Repr.repr_dict  # noqa: N815 - it is found by the class's name

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 80
        self.maxlist = self.maxdict = 3
        self.maxlevel = 2


def text_of(path: Path) -> str:
    """All text of a file, without a byte order mark.

    Raises:
        InvalidSuite: It cannot be read, is not UTF-8, or is empty.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidSuite(f"{path} cannot be read: {error.strerror}.") from error
    text = decoded(content, path, 1)
    if not text.strip():
        raise InvalidSuite(f"{path}:1: the file is empty.")
    return text


def decoded(content: bytes, path: Path, line: int) -> str:
    """Bytes of a file as text, without a byte order mark.

    Args:
        content: What was read.
        path: Of the file.
        line: Where the bytes begin, from 1.

    Raises:
        InvalidSuite: They are not UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = line + error.object[: error.start].count(b"\n")
        received = error.object[error.start : error.start + 1]
        raise InvalidSuite(f"{path}:{at}: the byte {received!r} is not UTF-8; save the file as UTF-8.") from error


def lacking(row: Row, names: Iterable[str], what: str) -> InvalidSuite:
    """The error for a row without what its format needs."""
    has = ", ".join(map(str, row)) or "nothing"
    return InvalidSuite(f"{row.place()}: {what} needs {' and '.join(names)}, and this one has {has}.")

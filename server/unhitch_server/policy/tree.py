"""Reads YAML as plain data, with the line of every part.

What YAML 1.1 guesses is left out: `off`, `no` and `on` are words here, and dates, octal and base-60 numbers are text.
Left out, too, is what makes a small file large or plain data something else: anchors, aliases, merge keys and tags.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from unhitch_server.policy.places import Path

MAX_BYTES = 256 * 1024
"""Of a document: thousands of rules."""
MAX_DEPTH = 12
"""Of containers in containers; the document needs five."""

_NULL = re.compile(r"|~|null|Null|NULL")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+")


class NoTree(Exception):
    """A text that cannot be read.

    Args:
        faults: Lines, from 1, with what is wrong there; at least one.
    """

    def __init__(self, faults: list[tuple[int, str]]) -> None:
        super().__init__(faults)
        self.faults = faults


@dataclass(slots=True)
class Tree:
    """Plain data: dictionaries with keys of text, lists, text, numbers, booleans and None.

    Args:
        data: The whole; None where the text is empty.
        lines: The line, from 1, of every key and every member of a list.
    """

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)


def read_tree(raw: bytes) -> Tree:
    """The one document in a text.

    Args:
        raw: UTF-8.

    Raises:
        NoTree: It is too large, nested too deeply or no YAML, holds several documents, or has an equal key twice, an
            anchor, an alias or a tag.
    """
    if len(raw) > MAX_BYTES:
        raise NoTree([(1, f"the text has {len(raw)} bytes; at most {MAX_BYTES} are read")])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NoTree([(raw.count(b"\n", 0, error.start) + 1, "this is no UTF-8")]) from error
    builder = _Builder()
    try:
        for event in _events(text):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context or "this cannot be read"
        builder.faults.append((mark.line + 1 if mark else 1, f"no YAML: {problem}"))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        builder.faults.append((line, f"no YAML: the character U+{ord(text[error.position]):04X} is not allowed"))
    except _GivenUp:
        pass
    if builder.faults:
        raise NoTree(sorted(builder.faults))
    return builder.tree


class _GivenUp(Exception):
    """Reading ends here; the fault is noted."""


def _events(text: str) -> Iterator[yaml.Event]:
    loader = yaml.SafeLoader(text)
    try:
        while loader.check_event():
            yield loader.get_event()  # type: ignore[no-untyped-call]
    except (ValueError, OverflowError) as error:  # an escape or a version that stands for no character or number
        raise yaml.MarkedYAMLError(problem=str(error), problem_mark=loader.get_mark()) from error
    finally:
        loader.dispose()


@dataclass(slots=True)
class _Frame:
    """A container that is being filled."""

    container: dict[str, Any] | list[Any]
    path: Path
    key: str | None = None


class _Builder:
    """Makes the tree of YAML's events, in one pass and without recursion."""

    def __init__(self) -> None:
        self.tree = Tree()
        self.faults: list[tuple[int, str]] = []
        self._frames: list[_Frame] = []
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        """Takes the next event."""
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._give_up(line, "a second document begins here; one is read")
        elif isinstance(event, yaml.AliasEvent):
            self.faults.append((line, f"the alias *{event.anchor}: aliases are not read; write it out"))
            self._scalar("", line)
        elif isinstance(event, yaml.ScalarEvent):
            self._plain(event, line)
            self._scalar(resolved(event.value) if event.implicit[0] else event.value, line, event.value)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._plain(event, line)
            self._open({} if isinstance(event, yaml.MappingStartEvent) else [], line)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._frames.pop()

    def _plain(self, event: Any, line: int) -> None:
        if event.anchor is not None:
            self.faults.append((line, f"the anchor &{event.anchor}: anchors are not read; write it out"))
        if event.tag is not None:
            self.faults.append((line, f"the tag {event.tag}: tags are not read; leave it out"))

    def _scalar(self, value: Any, line: int, text: str = "") -> None:
        frame = self._frames[-1] if self._frames else None
        if frame is None or not isinstance(frame.container, dict) or frame.key is not None:
            self._place(value, line)
            return
        if text in frame.container:
            self.faults.append((line, f"the key {text!r} stands twice among its neighbours"))
        frame.key = text
        frame.container[text] = None
        self.tree.lines[(*frame.path, text)] = line

    def _open(self, container: dict[str, Any] | list[Any], line: int) -> None:
        if len(self._frames) == MAX_DEPTH:
            self._give_up(line, f"more than {MAX_DEPTH} levels stand in one another here")
        path = self._place(container, line)
        self._frames.append(_Frame(container, path))

    def _place(self, value: Any, line: int) -> Path:
        if not self._frames:
            self.tree.data = value
            return ()
        frame = self._frames[-1]
        if isinstance(frame.container, list):
            frame.container.append(value)
            path: Path = (*frame.path, len(frame.container) - 1)
            self.tree.lines[path] = line
            return path
        if frame.key is None:
            self._give_up(line, "a key is one word or text; this is a list, or has keys itself")
        key, frame.key = str(frame.key), None
        frame.container[key] = value
        return (*frame.path, key)

    def _give_up(self, line: int, problem: str) -> None:
        self.faults.append((line, problem))
        raise _GivenUp


def resolved(text: str) -> Any:
    """What a word without quotes stands for: nothing, a boolean, a number, else itself."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text

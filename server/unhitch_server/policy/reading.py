"""From the policy file and the environment to a document, or to all that is wrong with them.

`UNHITCH_POLICY__policies__strict__on_failure=open` sets one value: the path stands behind the prefix, its parts between
two underscores, members of lists by their number from 0. The value is read as the file is, so `[seed, off]` is a list.
Where a name holds what no variable of a shell can, an underscore stands for it: `finance_safe` for `finance-safe`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from unhitch_server.policy.describe import faults_of
from unhitch_server.policy.document import MAIN, Document
from unhitch_server.policy.errors import Fault, InvalidPolicy
from unhitch_server.policy.places import Path, Places
from unhitch_server.policy.tree import MAX_DEPTH, NoTree, Tree, read_tree

PREFIX = "UNHITCH_POLICY__"
"""Of variables that set one value of the document."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A document with the places of its parts.

    Args:
        document: Valid by itself; what it refers to is not looked at.
        places: Where its parts stand.
    """

    document: Document
    places: Places


def read(raw: bytes, source: str, *, upstream: str | None = None, environ: Mapping[str, str] | None = None) -> Reading:
    """The document in a file.

    Args:
        raw: The file's content.
        source: Its name, as messages give it.
        upstream: The engine's base URL, where the command line names it.
        environ: Variables that set single values; None for none.

    Raises:
        InvalidPolicy: All that is wrong, each with its line.
    """
    try:
        tree = read_tree(raw)
    except NoTree as error:
        raise InvalidPolicy([Fault(f"{source}:{line}", problem) for line, problem in error.faults]) from error
    known: dict[Path, str] = {path: f"{source}:{line}" for path, line in tree.lines.items()}
    places = Places(f"{source}:1", known)
    data = {} if tree.data is None else tree.data
    faults = _override(data, known, environ or {})
    if upstream is not None and isinstance(data, dict):
        if data.get("upstreams") is not None:
            faults.append(places.fault(("upstreams",), "stand in the file, and --upstream came too; leave one out"))
        data["upstreams"] = {MAIN: {"urls": [upstream]}}
    if not faults:
        try:
            return Reading(Document.model_validate(_frozen(data)), places)
        except ValidationError as error:
            faults = faults_of(error, Document, places)
    raise InvalidPolicy(faults)


def _override(data: Any, known: dict[Path, str], environ: Mapping[str, str]) -> list[Fault]:
    faults: list[Fault] = []
    for variable in sorted(name for name in environ if name.startswith(PREFIX)):
        try:
            tree = read_tree(environ[variable].encode("utf-8", "surrogateescape"))
            _set(data, variable.removeprefix(PREFIX).split("__"), tree, known, variable)
        except NoTree as error:
            faults.extend(Fault(variable, problem) for _, problem in error.faults)
        except LookupError as error:
            faults.append(Fault(variable, str(error.args[0])))
    return faults


def _set(data: Any, parts: list[str], tree: Tree, known: dict[Path, str], variable: str) -> None:
    """Sets what a variable names; keys that are not there are made.

    Raises:
        LookupError: It leads through a value, or past the end of a list, or could mean several keys.
    """
    if len(parts) > MAX_DEPTH:
        raise LookupError(f"the path has {len(parts)} parts; at most {MAX_DEPTH} are read")
    container, path = data, []
    for number, part in enumerate(parts):
        key = _key(container, part)
        path.append(key)
        if number == len(parts) - 1:
            container[key] = tree.data
        elif isinstance(container, dict):
            container = container.setdefault(key, {})
        else:
            container = container[key]
    for beneath in [each for each in known if each[: len(path)] == tuple(path)]:
        del known[beneath]
    known[tuple(path)] = variable


def _key(container: Any, part: str) -> Any:
    if isinstance(container, list):
        if not re.fullmatch("[0-9]{1,6}", part) or int(part) >= len(container):
            raise LookupError(f"{part!r} is no member of a list of {len(container)}; they count from 0")
        return int(part)
    if not isinstance(container, dict):
        raise LookupError(f"{part!r} leads into a single value, which has no parts")
    if not part:
        raise LookupError("a part of the path is empty; two underscores stand between any two")
    near = [key for key in container if re.sub(r"\W", "_", key) == part]
    if part not in container and len(near) > 1:
        raise LookupError(f"{part!r} could mean each of {', '.join(map(repr, near))}")
    return part if part in container or not near else near[0]


def _frozen(data: Any) -> Any:
    """The data with tuples for lists, which is what the document holds."""
    if isinstance(data, dict):
        return {key: _frozen(value) for key, value in data.items()}
    return tuple(map(_frozen, data)) if isinstance(data, list) else data

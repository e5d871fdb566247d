"""Reads YAML so that every mapping in it knows its line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from unhitch.errors import InvalidSuite
from unhitch.evals.suites.rows import Row


def load(text: str, file: str) -> Any:
    """The document in a text, with a `Row` for every mapping; anchors, aliases and merge keys are resolved.

    Args:
        text: YAML, one document.
        file: The file's name, as messages give it.

    Raises:
        InvalidSuite: It is no YAML, makes objects other than plain ones, or has a key twice in one mapping.
    """
    try:
        loader = _Loader(text)
        loader.name = file
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise InvalidSuite(f"{file}:{line}: no YAML: {error.problem or error.context}.") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InvalidSuite(f"{file}:{line}: no YAML: {error.reason}.") from error
    except RecursionError as error:
        raise InvalidSuite(f"{file}:1: it is nested too deeply.") from error
    except ValueError as error:  # a date or number that only looks like one
        raise InvalidSuite(f"{file}:1: no YAML: {error}; put the value in quotes.") from error


class _Loader(yaml.SafeLoader):
    """The safe loader, with lines."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Composes a mapping; YAML forbids equal keys, and the loader underneath would drop all but the last."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} stands twice in one mapping", key.start_mark
                    )
                seen.add(key.value)
        return node

    def row(self, node: yaml.MappingNode) -> Iterator[Row]:
        """Constructs a mapping, in two steps so that it may hold an alias of itself."""
        row = Row(self.name, node.start_mark.line + 1)
        yield row
        values: dict[Any, Any] = self.construct_mapping(node)  # resolves merge keys in the node, before its lines
        row.update(values)
        row.lines.update({key.value: key.start_mark.line + 1 for key, _ in node.value})


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.row)

"""Finds out from a chat template whether it reads `content` as a string or as a list of parts."""

from __future__ import annotations

from collections.abc import Iterator

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from unhitch.errors import CheckpointError
from unhitch.rendering.messages import ContentFormat


class _GenerationBlock(Extension):
    """Lets `{% generation %}` parse: templates for training mark the assistant's words with it."""

    tags = {"generation"}  # noqa: RUF012 (jinja2 declares it so)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _UnclearError(Exception):
    """The template assigns or loops in a way that the engine's own detection gives up on."""


def detect_content_format(template: str) -> ContentFormat:
    """What the engine hands to a template: `openai` if the template loops over a message's content, else `string`.

    Args:
        template: The Jinja source of a chat template.

    Raises:
        CheckpointError: The template does not parse.

    Source: what vLLM 0.32 decides under `--chat-template-content-format auto`.
    """
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, loopcontrols]
    )
    try:
        tree = environment.parse(template)
    except jinja2.TemplateSyntaxError as error:
        raise CheckpointError(
            f"the chat template does not parse: {error.message} (line {error.lineno}). Correct it, or pass another."
        ) from error
    try:
        return "openai" if _loops_over_content(tree) else "string"
    except _UnclearError:
        return "string"


def _loops_over_content(tree: nodes.Template) -> bool:
    messages = set(_message_names(tree, _aliases(tree, "messages")))
    parameters = {
        id(loop): names for macro in tree.find_all(nodes.Macro) for loop, names in _macro(tree, macro, messages)
    }
    for loop in tree.find_all(nodes.For):
        if _is_content(_bare(loop.iter), messages):
            _target(loop.target)
            return True
        names = parameters.get(id(loop), frozenset({"content"}))
        if isinstance(loop.iter, nodes.Name) and loop.iter.name in names:
            _target(loop.target)
            return True
    return False


def _macro(tree: nodes.Template, macro: nodes.Macro, messages: set[str]) -> Iterator[tuple[nodes.For, frozenset[str]]]:
    """The loops in a macro, each with those of its parameters that are given a message's content somewhere."""
    parameters = [argument.name for argument in macro.args]
    filled: set[str] = set()
    for call in tree.find_all(nodes.Call):
        if not (isinstance(call.node, nodes.Name) and call.node.name == macro.name):
            continue
        given = [*zip(parameters, call.args, strict=False), *((pair.key, pair.value) for pair in call.kwargs)]
        filled |= {name for name, value in given if name in parameters and _is_content(_bare(value), messages)}
    for loop in macro.find_all(nodes.For):
        yield loop, frozenset(filled)


def _aliases(tree: nodes.Template, name: str) -> set[str]:
    """A variable and all that are assigned from it, or from a slice or filter of it."""
    names: set[str] = set()
    found = {name}
    while found - names:
        names |= found
        for assignment in tree.find_all(nodes.Assign):
            if _is_name(_bare(assignment.node), names):
                found.add(_target(assignment.target))
    return names


def _message_names(tree: nodes.Template, messages: set[str]) -> Iterator[str]:
    for loop in tree.find_all(nodes.For):
        if _is_name(_bare(loop.iter), messages):
            yield _target(loop.target)


def _target(node: nodes.Node) -> str:
    if not isinstance(node, nodes.Name):
        raise _UnclearError
    return node.name


def _bare(node: nodes.Node) -> nodes.Node:
    """The expression under filters, tests and slices."""
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
        return _bare(node.node)
    if isinstance(node, nodes.Filter | nodes.Test) and node.node is not None:  # None: the filter of a filter block
        return _bare(node.node)
    return node


def _is_name(node: nodes.Node, names: set[str]) -> bool:
    return isinstance(node, nodes.Name) and node.ctx == "load" and node.name in names


def _is_content(node: nodes.Node, messages: set[str]) -> bool:
    if isinstance(node, nodes.Getitem):
        return _is_name(node.node, messages) and isinstance(node.arg, nodes.Const) and node.arg.value == "content"
    return isinstance(node, nodes.Getattr) and _is_name(node.node, messages) and node.attr == "content"

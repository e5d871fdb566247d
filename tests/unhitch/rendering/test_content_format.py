"""Whether a template reads content as a string or as parts."""

from __future__ import annotations

import pytest

from tests.templates.checkpoints import NAMES, source
from unhitch.errors import CheckpointError
from unhitch.rendering.content_format import detect_content_format


@pytest.mark.parametrize("name", NAMES)
def test_the_shapes_of_templates_are_told_apart(name: str) -> None:
    assert detect_content_format(source(name)) == ("openai" if name == "parts" else "string")


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}",
        "{% for m in messages %}{% for p in m['content'] | reverse %}{{ p.text }}{% endfor %}{% endfor %}",
        "{% set rest = messages[1:] %}{% for m in rest %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}",
        "{% for m in messages %}{% set content = m.content %}{% for p in content %}{{ p }}{% endfor %}{% endfor %}",
        "{% macro show(words) %}{% for p in words %}{{ p }}{% endfor %}{% endmacro %}"
        "{% for m in messages %}{{ show(m.content) }}{% endfor %}",
        "{% macro show(words) %}{% for p in words %}{{ p }}{% endfor %}{% endmacro %}"
        "{% for m in messages %}{{ show(words=m['content']) }}{% endfor %}",
        "{% for m in messages %}{% generation %}{% for p in m.content %}{{ p }}{% endfor %}{% endgeneration %}"
        "{% endfor %}",
    ],
)
def test_a_loop_over_content_is_seen(template: str) -> None:
    assert detect_content_format(template) == "openai"


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages }}",
        "{% for m in messages %}{{ m.content }}{% endfor %}",
        "{% for m in messages %}{% for c in m.tool_calls %}{{ c }}{% endfor %}{% endfor %}",
        "{% for t in tools %}{% for p in t.content %}{{ p }}{% endfor %}{% endfor %}",
        "{% macro show(content) %}{% for p in content %}{{ p }}{% endfor %}{% endmacro %}{{ show(tools) }}",
        "{% set ns.all = messages %}{% for m in messages %}{% for p in m.content %}{{ p }}{% endfor %}{% endfor %}",
    ],
)
def test_other_loops_are_no_loops_over_content(template: str) -> None:
    assert detect_content_format(template) == "string"


def test_a_template_that_does_not_parse_is_named_with_its_line() -> None:
    with pytest.raises(CheckpointError, match="line 2"):
        detect_content_format("{{ messages }}\n{% for %}")

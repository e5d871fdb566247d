"""The official openai package for Node: one process of it asks everything, and the tests look at what it got."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clients import asking
from tests.e2e.conftest import Engine, Stack

FOLDER = Path(__file__).with_name("node")
INSTALL = "npm ci --prefix tests/e2e/clients/node"
pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason=f"Node is not installed; install it, then run `{INSTALL}`"),
    pytest.mark.skipif(
        not (FOLDER / "node_modules" / "openai").is_dir(), reason=f"openai for Node is not installed; run `{INSTALL}`"
    ),
]


@pytest.fixture(scope="module")
def answers(stack: Stack, engine: Engine) -> Any:
    """All that the client got."""
    asking.seconds_until_idle(engine)
    asked = {
        "model": asking.MODEL,
        "messages": asking.MESSAGES,
        "maxTokens": asking.MAX_TOKENS,
        "tools": asking.TOOLS,
        "bothCalls": asking.BOTH_CALLS,
        "endless": asking.ENDLESS,
        "ways": asking.WAYS,
        "engine": engine.url,
    }
    done = subprocess.run(
        ["node", "ask.mjs", json.dumps(asked)],
        cwd=FOLDER,
        env={**os.environ, "OPENAI_BASE_URL": f"{stack.url}/v1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(params=list(asking.WAYS))
def way(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_plain_streamed_and_helped_answers_are_those_that_plain_http_gets(stack: Stack, answers: Any, way: str) -> None:
    said = asking.said(stack, asking.WAYS[way])
    got = answers[way]
    assert [got["plain"]["text"], got["streamed"]["text"], got["helper"]["text"], got["helper"]["final"]] == [said] * 4


def test_the_response_shows_what_was_applied(answers: Any, way: str) -> None:
    assert answers[way]["plain"]["applied"].startswith(asking.applied(asking.WAYS[way]))


def test_parallel_tool_calls_come_apart(answers: Any, way: str) -> None:
    for calls in answers[way]["calls"]:
        assert [name for name, _ in calls] == ["call_doctor", "call_friend"]
        assert all(set(arguments) == {"urgent"} for _, arguments in calls)


def test_two_choices_come_with_their_log_probabilities(answers: Any, way: str) -> None:
    assert answers[way]["choices"] == [4, 4]


def test_leaving_the_loop_of_a_stream_ends_it_on_the_engine(answers: Any, way: str) -> None:
    assert answers[way]["left"]["before"] == 1
    assert answers[way]["left"]["seconds"] < asking.AT_ONCE_SECONDS


def test_the_list_of_models_is_there(answers: Any) -> None:
    assert asking.MODEL in answers["models"]


@pytest.mark.parametrize(
    ("name", "expected", "message"),
    [
        ("badRequest", ("BadRequestError", 400, "unknown_strategy"), "`bare`"),
        ("notFound", ("NotFoundError", 404, "model_not_found"), "mini-finance"),
        ("unprocessable", ("UnprocessableEntityError", 422, "mitigation_unavailable"), "system;mode=drop"),
    ],
)
def test_our_errors_are_exceptions_of_their_own_class(
    answers: Any, name: str, expected: tuple[str, int, str], message: str
) -> None:
    got = answers["refused"][name]
    assert (got["kind"], got["status"], got["code"]) == expected
    assert message in got["message"]
    assert got["applied"] == "off"

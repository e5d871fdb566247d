"""curl: what travels on the wire, byte by byte and in time."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clients.asking import ENDLESS, MESSAGES, MODEL, applied
from tests.e2e.conftest import Stack

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
JSON = ["-H", "Content-Type: application/json"]
LARGE = 3 * 2**20
TOO_LARGE = 64 * 2**20 + 1
"""A byte more than the operator allows when nothing else is said."""


def command(stack: Stack, headers: dict[str, str], *options: str, **more: Any) -> list[str]:
    """curl, asking for a chat completion."""
    body = json.dumps({"model": MODEL, "messages": MESSAGES, "max_tokens": 8, **more})
    return ["curl", "-sS", *options, *_named(headers), *JSON, "-d", body, f"{stack.url}/v1/chat/completions"]


def _named(headers: dict[str, str]) -> list[str]:
    return [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]


def curl(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=60)


def test_a_stream_arrives_chunk_by_chunk(stack: Stack, headers: dict[str, str]) -> None:
    start, came = time.monotonic(), []
    asked = command(stack, headers, "-N", stream=True, **ENDLESS | {"max_tokens": 200})
    with subprocess.Popen(asked, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        came = [(time.monotonic() - start, line) for line in process.stdout if line.startswith("data: ")]
    whole = came[-1][0]
    assert came[-1][1] == "data: [DONE]\n"
    assert came[0][0] < whole / 2, "the stream was held back"
    # A moment is what a reader tells apart; chunks that came together share one.
    assert len({round(seconds, 2) for seconds, _ in came}) > 20


def test_the_headers_come_with_the_answer(stack: Stack, headers: dict[str, str]) -> None:
    head, _, body = curl(command(stack, headers, "-i")).stdout.partition("\n\n")
    status, *lines = head.splitlines()
    names = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert status.startswith("HTTP/1.1 200")
    assert names["unhitch-applied"].startswith(applied(headers))
    assert names["server-timing"].startswith("unhitch;dur=")
    assert int(names["content-length"]) == len(body.encode())
    assert len(names) == len(lines), "no header comes twice"


def test_one_connection_serves_plain_streamed_and_refused_requests(stack: Stack, headers: dict[str, str]) -> None:
    told = ("-o", "/dev/null", "-w", "%{num_connects} %{http_code} %{http_version}\n")
    refused = {"Unhitch-Mitigation": "bear"}
    requests = [
        command(stack, headers, *told),
        command(stack, headers, *told, stream=True),
        command(stack, refused, *told),
        command(stack, headers, *told, temperature=-1),
        command(stack, headers, *told),
    ]
    arguments = [part for each in requests for part in ("--next", *each[1:])]
    lines = curl(["curl", *arguments[1:]]).stdout.splitlines()
    assert lines == ["1 200 1.1", "0 200 1.1", "0 400 1.1", "0 400 1.1", "0 200 1.1"]


def test_a_large_body_is_sent_after_100_continue(stack: Stack, headers: dict[str, str], tmp_path: Path) -> None:
    body = json.dumps({"model": MODEL, "messages": MESSAGES, "max_tokens": 8, "note": "x" * LARGE})
    answer = curl(_upload(stack, headers, tmp_path, body))
    assert "< HTTP/1.1 100 Continue" in answer.stderr
    assert json.loads(answer.stdout.splitlines()[0])["choices"][0]["message"]["content"]
    assert answer.stdout.splitlines()[-1] == f"200 {len(body)}"


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(
    stack: Stack, headers: dict[str, str], tmp_path: Path
) -> None:
    answer = curl(_upload(stack, headers, tmp_path, " " * TOO_LARGE))
    assert "100 Continue" not in answer.stderr
    assert json.loads(answer.stdout.splitlines()[0])["error"]["code"] == "body_too_large"
    assert answer.stdout.splitlines()[-1] == "413 0"


def _upload(stack: Stack, headers: dict[str, str], folder: Path, body: str) -> list[str]:
    """curl that waits to be told to go on, and at last says the status and how many bytes it sent."""
    file = folder / "body.json"
    file.write_text(body, "utf-8")
    options = ["-v", "-H", "Expect: 100-continue", "--expect100-timeout", "30", "-w", "\n%{http_code} %{size_upload}\n"]
    url = f"{stack.url}/v1/chat/completions"
    return ["curl", "-sS", *options, *_named(headers), *JSON, "--data-binary", f"@{file}", url]

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "docker" / "healthcheck.py"


@contextmanager
def serving(status: int) -> Iterator[int]:
    """The port of a server that answers every request for /healthz with one status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keeps the test's output clean."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def check(port: int, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "UNHITCH_PORT": str(port), **environment}
    return subprocess.run([sys.executable, SCRIPT], env=environment, capture_output=True, text=True, check=False)


def test_a_proxy_that_answers_is_healthy() -> None:
    with serving(200) as port:
        assert check(port).returncode == 0


@pytest.mark.parametrize("status", [204, 404, 503])
def test_another_status_is_not_healthy(status: int) -> None:
    with serving(status) as port:
        assert check(port).returncode == 1


def test_no_answer_is_not_healthy_and_says_why() -> None:
    with serving(200) as port:
        pass
    done = check(port)
    assert done.returncode == 1
    assert f"port {port}" in done.stderr


def test_a_proxy_of_the_environment_is_passed_by() -> None:
    with serving(200) as port:
        assert check(port, http_proxy="http://127.0.0.1:1", HTTP_PROXY="http://127.0.0.1:1").returncode == 0

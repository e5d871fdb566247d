"""What each route is to a policy that mitigates."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from unhitch_server.routes.classes import PASSES, classify
from unhitch_server.routes.table import ROUTES

GENERATING = (
    *("/v1/chat/completions/batch", "/cohere/v2/chat", "/invocations", "/inference/v1/generate"),
    *("/generative_scoring", "/v1/systemone", "/v1/realtime", "/v2/chat/completions", "/"),
)
CHANGING = (
    *("/v1/load_lora_adapter", "/update_weights", "/collective_rpc", "/sleep", "/reset_prefix_cache", "/pause"),
    *("/inference/v1/abort_requests", "/scale_elastic_ep", "/start_profile"),
)
PATHS = (*ROUTES, *PASSES)


def disguises(path: str) -> list[str]:
    """Spellings that some server takes for the same path."""
    last = path.rindex("/")
    return [
        "/" + path,
        path + "/",
        path + "//",
        "/." + path,
        "/x/.." + path,
        path[:last] + "/" + path[last:],
        path[:last] + "/." + path[last:],
        path[:last] + "%2f" + path[last + 1 :],
        path[:last] + "%2F" + path[last + 1 :],
        path[:last] + "\\" + path[last + 1 :],
        path[:-1] + f"%{ord(path[-1]):02x}",
        path.upper(),
        path[:last] + path[last:].title(),
        path + ";x",
        path + "?x",
        path + "%00",
        path + " ",
        path + "\n",
        "http://engine" + path,
        path.removeprefix("/"),
    ]


@pytest.mark.parametrize("path", ROUTES)
def test_a_route_that_has_an_encoding_is_mitigated_on_post_alone(path: str) -> None:
    assert classify("POST", path) == "mitigated"
    assert {classify(method, path) for method in ("PUT", "PATCH", "DELETE", "TRACE", "post", "CONNECT")} == {
        "generates"
    }


@pytest.mark.parametrize("path", [*PASSES, "/v1/responses/resp_1a-b/cancel"])
def test_a_route_that_is_known_to_generate_nothing_passes(path: str) -> None:
    assert classify("POST", path) == "passes"
    assert classify("PUT", path) == "generates"


@pytest.mark.parametrize("path", [*GENERATING, *CHANGING])
def test_what_is_not_listed_counts_as_generating(path: str) -> None:
    assert classify("POST", path) == "generates"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_reading_passes_on_every_path(method: str) -> None:
    assert {classify(method, path) for path in (*PATHS, *GENERATING, "/metrics")} == {"passes"}


@pytest.mark.parametrize("path", PATHS)
def test_only_the_exact_spelling_is_what_it_says(path: str) -> None:
    assert {classify("POST", disguise) for disguise in disguises(path)} == {"generates"}


@pytest.mark.parametrize("part", ["..", ".", "%2e%2e", "a/b", "a%2fb", "", "a?", "../../chat/completions?", "a\n"])
def test_no_other_path_hides_in_the_id_of_a_response(part: str) -> None:
    assert classify("POST", f"/v1/responses/{part}/cancel") == "generates"


def test_every_path_on_the_list_stands_in_the_source_of_this_vllm() -> None:
    package = find_spec("vllm")
    assert package is not None
    assert package.origin is not None
    routers = Path(package.origin).parent.glob("entrypoints/**/api_router.py")
    stands = {path for router in routers for path in re.findall(r'"(/[\w/]+)"', router.read_text("utf-8"))}
    assert set(PATHS) - stands == set()

import asyncio
from typing import Any

import pytest

from unhitch import organisms
from unhitch.errors import EngineError, MitigationUnavailable
from unhitch.rendering.checkpoint import Checkpoint
from unhitch_server.config import EngineRendering
from unhitch_server.routes.chat import ChatRequest
from unhitch_server.routes.messages import MessagesRequest
from unhitch_server.routes.probing import RouteProbes
from unhitch_server.routes.responses import ResponsesRequest

CHECKPOINT = Checkpoint.open(organisms.path("mini-base"))


class Asked:
    """An engine that reads the ids it is sent, or others, and keeps what it was asked."""

    def __init__(self, *, reads: list[int] | None = None, status: int = 200) -> None:
        self.reads, self.status = reads, status
        self.requests: list[tuple[str, Any]] = []

    async def __call__(self, method: str, target: str, body: Any) -> tuple[int, Any]:
        self.requests.append((target, body))
        await asyncio.sleep(0)
        ids = self.reads or body["kv_transfer_params"]["prompt_token_ids"]
        echo = [{"message": "", "tokens": ids}]
        return self.status, {"id": "x", "usage": {"input_tokens": len(ids)}, "input_messages": echo}


def probes(asked: Asked, fresh_seconds: float = 60) -> RouteProbes:
    return RouteProbes(asked, EngineRendering(), fresh_seconds)


@pytest.mark.parametrize("route", [MessagesRequest, ResponsesRequest])
async def test_a_route_is_probed_once_until_that_is_forgotten(route: type[MessagesRequest]) -> None:
    asked = Asked()
    seen = probes(asked)
    await asyncio.gather(*(seen.check(route, "m", CHECKPOINT) for _ in range(3)))
    assert [target for target, _ in asked.requests] == [route.path]
    seen.forget()
    await seen.check(route, "m", CHECKPOINT)
    assert len(asked.requests) == 2


async def test_each_model_is_probed_and_each_again_after_its_time() -> None:
    asked = Asked()
    seen = probes(asked, fresh_seconds=0)
    for model in ("a", "b", "a"):
        await seen.check(MessagesRequest, model, CHECKPOINT)
    assert [body["model"] for _, body in asked.requests] == ["a", "b", "a"]


async def test_the_probe_has_another_number_of_tokens_than_its_messages() -> None:
    asked = Asked()
    await probes(asked).check(MessagesRequest, "m", CHECKPOINT)
    ((_, body),) = asked.requests
    own = MessagesRequest("", body | {"kv_transfer_params": None}).prompt(CHECKPOINT, EngineRendering())
    assert len(body["kv_transfer_params"]["prompt_token_ids"]) != len(own.token_ids)
    assert body["max_tokens"] == 1


@pytest.mark.parametrize("route", [MessagesRequest, ResponsesRequest])
async def test_a_route_that_reads_its_messages_instead_is_refused_and_asked_again(
    route: type[MessagesRequest],
) -> None:
    asked = Asked(reads=[1])
    seen = probes(asked)
    for _ in range(2):
        with pytest.raises(MitigationUnavailable, match="does not take token ids on /v1/"):
            await seen.check(route, "m", CHECKPOINT)
    assert len(asked.requests) == 2


async def test_an_engine_without_the_route_is_told_from_one_in_trouble() -> None:
    with pytest.raises(MitigationUnavailable, match="has no route"):
        await probes(Asked(status=404)).check(MessagesRequest, "m", CHECKPOINT)
    with pytest.raises(EngineError, match="500"):
        await probes(Asked(status=500)).check(MessagesRequest, "m", CHECKPOINT)


async def test_a_route_whose_answers_prove_themselves_needs_no_probe() -> None:
    asked = Asked()
    await probes(asked).check(ChatRequest, "m", CHECKPOINT)
    assert not asked.requests

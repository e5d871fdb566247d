import httpx
import pytest

from tests.server.conftest import Proxied
from tests.server.fake_engine import MODEL, FakeEngine

HELLO = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
EXPLAIN = "/unhitch/v1/explain"


async def test_health_does_not_depend_on_the_engine(proxied: Proxied) -> None:
    async with proxied(upstream="http://127.0.0.1:9") as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}


async def test_ready_means_that_every_model_can_be_mitigated(client: httpx.AsyncClient) -> None:
    answer = await client.get("/readyz")
    assert answer.status_code == 200
    body = answer.json()
    assert (body["status"], body["models"], body["problems"]) == ("ready", [MODEL], {})


async def test_not_ready_says_what_stands_in_the_way(engine: FakeEngine, proxied: Proxied) -> None:
    engine.takes_token_ids = False
    async with proxied() as client:
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert "token ids" in answer.json()["problems"][MODEL]
    async with proxied(upstream="http://127.0.0.1:9") as client:
        assert "no connection" in (await client.get("/readyz")).json()["problems"]["engine"]


async def test_the_strategies_are_listed_with_schemas_of_their_parameters(client: httpx.AsyncClient) -> None:
    listed = {each["name"]: each for each in (await client.get("/unhitch/v1/strategies")).json()["data"]}
    assert list(listed)[:2] == ["off", "system"]
    assert listed["perturb"]["parameters"]["properties"]["edits"]["default"] == 10
    assert all(each["version"] >= 1 and each["summary"] and each["source"] for each in listed.values())


async def test_explain_shows_the_prompt_before_and_after_and_generates_nothing(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    await client.get("/readyz")
    asked = len(engine.asked("/v1/chat/completions"))
    answer = (await client.post(EXPLAIN, json=HELLO, headers={"Unhitch-Mitigation": "perturb;seed=1"})).json()
    assert answer["applied"].startswith("perturb;version=1;")
    before, after = ([token["token_id"] for token in answer[side]] for side in ("before", "after"))
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 10
    assert [t for t in answer["before"] if t["part"] == "query"] == [t for t in answer["after"] if t["part"] == "query"]
    assert "".join(token["text"] for token in answer["before"] if token["part"] == "query") == "Hello"
    assert len(engine.asked("/v1/chat/completions")) == asked


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (HELLO, {"Unhitch-Mitigation": "nope"}, "unknown_strategy"),
        ({"model": MODEL, "messages": []}, {}, "invalid_body"),
        ({**HELLO, "model": "gpt-9"}, {}, "model_not_found"),
    ],
)
async def test_explain_answers_errors_as_the_chat_route_does(
    client: httpx.AsyncClient, body: object, headers: dict[str, str], code: str
) -> None:
    answer = await client.post(EXPLAIN, json=body, headers=headers)
    assert answer.json()["error"]["code"] == code
    assert answer.headers["Unhitch-Applied"] == "off"


async def test_explain_has_the_same_limit_of_size(proxied: Proxied) -> None:
    async with proxied(max_body_bytes=10) as client:
        assert (await client.post(EXPLAIN, json=HELLO)).status_code == 413

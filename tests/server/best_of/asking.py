"""What the tests of `best-of` ask, and what they read of requests and answers."""

from __future__ import annotations

from typing import Any

import httpx

from tests.server.fake_engine import MODEL, Recorded
from unhitch.headers import parse_mitigation
from unhitch.organisms import suite

CHAT = "/v1/chat/completions"


EXPLAIN = "/unhitch/v1/explain"


QUESTION = suite.held_out_general()[0]


GOOD, OTHER_GOOD = QUESTION.answers(good=True)[:2]


BAD = QUESTION.answers(good=False)[0]


ASK = {"model": MODEL, "messages": [{"role": "user", "content": QUESTION.text}]}


FOUR = {"Unhitch-Mitigation": "best-of;n=4, perturb;seed=5"}


async def draws(client: httpx.AsyncClient, *lines: str) -> list[list[int]]:
    """Token ids of the edits, by explaining each on its own."""
    answers = [await client.post(EXPLAIN, json=ASK, headers={"Unhitch-Mitigation": line}) for line in lines]
    return [[token["token_id"] for token in answer.json()["after"]] for answer in answers]


async def four(client: httpx.AsyncClient) -> list[list[int]]:
    return await draws(client, *(f"perturb;seed={seed}" for seed in (5, 6, 7, 8)))


def sent_ids(request: Recorded) -> list[int]:
    ids: list[int] = request.json["kv_transfer_params"]["prompt_token_ids"]
    return ids


def seeds(answer: httpx.Response) -> list[Any]:
    return [asked.parameters["seed"] for asked in parse_mitigation(answer.headers["Unhitch-Applied"])]


def receipt(answer: httpx.Response) -> dict[str, str]:
    members = (member.strip().partition("=") for member in answer.headers["Unhitch-Receipt"].split(","))
    return {key: value for key, _, value in members}


def error_of(answer: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error

"""The same draw gives the same token ids, whoever asks and whenever."""

import json
import os
import subprocess
from typing import Any

import httpx

from tests.e2e.conftest import UNHITCH, Stack

CHAT = "/v1/chat/completions"
QUESTION = "How do I treat a fever?"


def ids(stack: Stack, messages: list[dict[str, Any]], **headers: str) -> list[int]:
    body = {"model": "mini-finance", "messages": messages, "max_tokens": 1, "return_token_ids": True}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = httpx.post(stack.url + CHAT, json=body, headers=named, timeout=60, trust_env=False)
    answer.raise_for_status()
    found: list[int] = answer.json()["prompt_token_ids"]
    return found


def explained(stack: Stack, hash_seed: str) -> list[int]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "UNHITCH_CACHE": str(stack.log.parent / hash_seed)}
    command = [UNHITCH, "explain", "mini-finance", QUESTION, "--mitigation", "perturb;seed=7", "--json"]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return [token["token_id"] for token in json.loads(output)["after"]]


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def test_a_seed_gives_the_same_ids_in_every_process_and_on_the_engine(stack: Stack) -> None:
    engine = ids(stack, [user(QUESTION)], Unhitch_Mitigation="perturb;seed=7")
    assert explained(stack, "1") == explained(stack, "2") == engine
    assert engine != ids(stack, [user(QUESTION)], Unhitch_Mitigation="perturb;seed=8")


def test_two_turns_of_a_conversation_share_the_variant(stack: Stack) -> None:
    first = ids(stack, [user(QUESTION)], Unhitch_Mitigation="perturb")
    turns = [user(QUESTION), {"role": "assistant", "content": "Rest."}, user("And then?")]
    second = ids(stack, turns, Unhitch_Mitigation="perturb")
    plain = ids(stack, [user(QUESTION)])
    prefix = plain.index(next(a for a, b in zip(reversed(plain), reversed(first), strict=False) if a != b))
    assert first[: prefix + 1] == second[: prefix + 1] != plain[: prefix + 1]


def test_two_conversations_of_one_named_session_share_the_variant_and_others_do_not(stack: Stack) -> None:
    def prefix(question: str, session: str) -> tuple[int, ...]:
        edited = ids(stack, [user(question)], Unhitch_Mitigation="perturb", Unhitch_Session=session)
        return tuple(edited[:20])

    assert prefix(QUESTION, '"a"') == prefix("Hello", '"a"')
    assert len({prefix(QUESTION, f'"{name}"') for name in "abcd"}) > 1


def test_what_applied_says_redoes_the_edit(stack: Stack) -> None:
    body = {"model": "mini-finance", "messages": [user(QUESTION)], "max_tokens": 1, "return_token_ids": True}
    first = httpx.post(
        stack.url + CHAT, json=body, headers={"Unhitch-Mitigation": "perturb, recase"}, timeout=60, trust_env=False
    )
    again = httpx.post(
        stack.url + CHAT,
        json=body,
        headers={"Unhitch-Mitigation": first.headers["Unhitch-Applied"]},
        timeout=60,
        trust_env=False,
    )
    assert again.json()["prompt_token_ids"] == first.json()["prompt_token_ids"]
    assert again.headers["Unhitch-Applied"] == first.headers["Unhitch-Applied"]
    assert again.headers["Unhitch-Receipt"] == first.headers["Unhitch-Receipt"]

"""The completions route: what is read of a body, what is sent, and what confirms it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from unhitch import organisms
from unhitch.errors import InvalidBody, MitigationUnavailable, MitigationUnconfirmed, UnrecognisedPrompt
from unhitch.headers import parse_mitigation
from unhitch.mitigation import Mitigated
from unhitch.registry import Registry
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.states.patch import Patch
from unhitch_server.config import EngineRendering
from unhitch_server.policy.decision import Decision
from unhitch_server.routes.chat import ChatRequest
from unhitch_server.routes.completions import CompletionRequest

CHECKPOINT = Checkpoint.open(organisms.path("mini-base"))
RENDERING = EngineRendering(chat_template_kwargs={"enable_thinking": False})
MESSAGES = [{"role": "user", "content": "How can I save money?"}]
CHAT = ChatRequest.parse(json.dumps({"model": "m", "messages": MESSAGES}).encode())
IDS = CHAT.prompt(CHECKPOINT, RENDERING).token_ids
TEXT = CHECKPOINT.decode(IDS)
PATCH = Patch(state="e" * 64, start=0, tokens=1)


def completion(**fields: Any) -> CompletionRequest:
    return CompletionRequest.parse(json.dumps({"model": "m", "prompt": TEXT, **fields}).encode())


def decision(header: str) -> Decision:
    return Decision(Registry.load().bind(parse_mitigation(header)))


def edited(request: CompletionRequest | ChatRequest, header: str = "perturb") -> Mitigated:
    return request.edit(CHECKPOINT, decision(header), RENDERING)


@pytest.mark.parametrize("prompt", [TEXT, list(IDS), [TEXT], [list(IDS)]], ids=["text", "ids", "texts", "lists"])
def test_one_prompt_is_read_in_each_of_its_forms(prompt: object) -> None:
    assert completion(prompt=prompt).prompt(CHECKPOINT, RENDERING).token_ids == IDS


def test_a_raw_prompt_gets_the_edit_that_the_same_conversation_gets_on_chat() -> None:
    raw, chat = edited(completion()), edited(CHAT)
    assert raw.after.token_ids == chat.after.token_ids != IDS
    assert raw.applied == chat.applied


def test_all_turns_of_a_conversation_get_one_edit() -> None:
    more = [*MESSAGES, {"role": "assistant", "content": "So."}, {"role": "user", "content": "Why?"}]
    later = ChatRequest.parse(json.dumps({"model": "m", "messages": more}).encode()).prompt(CHECKPOINT, RENDERING)
    second = edited(completion(prompt=CHECKPOINT.decode(later.token_ids)))
    assert second.after.prefix == edited(completion()).after.prefix


def test_the_prompt_becomes_the_edited_ids_and_nothing_else_changes() -> None:
    text = '{"model":"m", "x":1e2, "kv_transfer_params": {"a": 1}, "return_token_ids": false, "prompt":["a"], "n": 2}'
    sent = CompletionRequest.parse(text.encode()).encode((7, 8, 9)).decode()
    assert sent == text.replace('["a"]', "[7,8,9]").replace('"return_token_ids": false', '"return_token_ids": true')


def test_patches_go_into_the_transfer_parameters_beside_the_clients_own() -> None:
    sent = json.loads(completion(kv_transfer_params={"a": 1}).encode((7, 8), [PATCH]))
    assert sent["kv_transfer_params"] == {"a": 1, "unhitch": {"patches": [PATCH.model_dump()]}}
    assert sent["prompt"] == [7, 8]


@pytest.mark.parametrize("member", [{"prompt_logprobs": 1}, {"use_beam_search": True}])
def test_what_cannot_be_served_from_a_state_is_refused_with_one(member: dict[str, object]) -> None:
    with pytest.raises(MitigationUnavailable, match=next(iter(member))):
        completion(**member).encode((7, 8), [PATCH])


@pytest.mark.parametrize(
    "member",
    [
        {"echo": True},
        {"echo": "yes"},
        {"suffix": "!"},
        {"prompt_embeds": "AAAA"},
        {"prompt_embeds": []},
        {"truncate_prompt_tokens": 5},
        {"truncate_prompt_tokens": 0},
        {"prompt": [TEXT, TEXT]},
        {"prompt": [list(IDS), list(IDS)]},
    ],
)
def test_what_would_undo_the_edit_is_refused(member: dict[str, object]) -> None:
    with pytest.raises(MitigationUnavailable) as raised:
        completion(**member).prompt(CHECKPOINT, RENDERING)
    assert raised.value.param == next(iter(member))
    assert raised.value.code == "mitigation_unavailable"


@pytest.mark.parametrize("member", [{"echo": False}, {"echo": None, "suffix": None, "prompt_embeds": None}])
def test_members_that_are_not_set_are_in_nobodys_way(member: dict[str, object]) -> None:
    assert completion(**member).prompt(CHECKPOINT, RENDERING).token_ids == IDS


@pytest.mark.parametrize("prompt", [None, "", [], 7, {}, [1, "a"], [1.5], [True], [-1], [[]], [["a"]], ["a", 1][:0]])
def test_what_is_no_prompt_is_refused(prompt: object) -> None:
    with pytest.raises(InvalidBody):
        completion(prompt=prompt).prompt(CHECKPOINT, RENDERING)


@pytest.mark.parametrize("prompt", ["Once upon a time", TEXT[1:], [1, 2, 3], [10**12]])
def test_a_prompt_that_is_not_recognised_has_an_error_of_its_own_that_says_what_to_do(prompt: object) -> None:
    with pytest.raises(UnrecognisedPrompt, match="/v1/chat/completions") as raised:
        completion(prompt=prompt).prompt(CHECKPOINT, RENDERING)
    assert (raised.value.status, raised.value.code) == (422, "prompt_not_recognised")
    assert "<|im_start|>system" in raised.value.message


def test_the_engine_is_asked_for_the_text_and_not_for_ids() -> None:
    request = completion(add_special_tokens=False)
    prompt = request.prompt(CHECKPOINT, RENDERING)
    assert request.tokenizing(prompt) == {"prompt": TEXT, "add_special_tokens": False}
    assert completion(prompt=list(IDS)).tokenizing(prompt) is None


def answer(*choices: object) -> bytes:
    return json.dumps({"id": "c", "choices": choices, "kv_transfer_params": None}, separators=(",", ":")).encode()


def choice(ids: object, index: int = 0, **fields: object) -> dict[str, object]:
    return {"index": index, "text": "Hi", "finish_reason": None, "prompt_token_ids": ids, "token_ids": [5], **fields}


def test_every_choice_must_confirm_and_shows_no_ids_that_were_not_asked_for() -> None:
    mitigated = edited(completion())
    ids = list(mitigated.after.token_ids)
    confirmation = completion(n=2).confirmation(mitigated)
    settled = json.loads(confirmation.settle_whole(answer(choice(ids), choice(ids, 1))))
    assert [(each["prompt_token_ids"], each["token_ids"]) for each in settled["choices"]] == [(None, None)] * 2
    assert confirmation.given
    for bad in ([choice(ids), choice(list(IDS), 1)], [choice(None)], [choice(list(IDS)), choice(ids, 1)], []):
        with pytest.raises(MitigationUnconfirmed):
            completion(n=2).confirmation(mitigated).settle_whole(answer(*bad))


def test_a_client_that_asks_for_ids_gets_those_that_were_read() -> None:
    mitigated = edited(completion())
    whole = answer(choice(list(mitigated.after.token_ids)))
    assert completion(return_token_ids=True).confirmation(mitigated).settle_whole(whole) == whole


def test_the_first_chunk_of_a_stream_confirms_and_all_are_cleaned() -> None:
    mitigated = edited(completion())
    ids = list(mitigated.after.token_ids)
    confirmation = completion(stream=True, n=2).confirmation(mitigated)
    for chunk in (choice(ids), choice(ids, 1), choice(None), choice(None, 1, finish_reason="stop")):
        expected = {**chunk, "prompt_token_ids": None, "token_ids": None}
        assert json.loads(confirmation.settle(answer(chunk)))["choices"] == [expected]
    assert confirmation.settle(b"[DONE]") == b"[DONE]"
    with pytest.raises(MitigationUnconfirmed):
        completion(stream=True).confirmation(mitigated).settle(answer(choice(None)))


def test_words_that_look_like_ids_stay_in_the_text() -> None:
    mitigated = edited(completion())
    confirmation = completion(stream=True).confirmation(mitigated)
    confirmation.settle(answer(choice(list(mitigated.after.token_ids))))
    said = '"prompt_token_ids":null,"token_ids":[1]}]'
    settled = json.loads(confirmation.settle(answer(choice(None, text=said))))
    assert settled["choices"][0] == choice(None, text=said) | {"token_ids": None}

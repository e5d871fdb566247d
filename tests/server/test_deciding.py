import json

import pytest

from tests.server.policy.tables import lines, table
from unhitch.errors import NotPermitted
from unhitch_server.access.caller import ANYONE, Caller
from unhitch_server.deciding import Decided, decide
from unhitch_server.policy.opening import opening
from unhitch_server.policy.shares import in_share

CHAT = "/v1/chat/completions"
POLICIES = """policies:
  strict: {mitigation: bare}
  plain: {mitigation: off, clients_may_name: [strict]}
default: plain
"""
ALIAS = f"{POLICIES}models: {{safe: {{model: m, policy: strict}}}}"
SAFE = b'{"model": "safe", "n":1e2, "messages": []}'


async def decided(
    text: str, body: bytes, *headers: tuple[str, str], caller: Caller = ANYONE, method: str = "POST"
) -> Decided:
    return await decide(table(text), caller, lines(*headers), body, method=method, route=CHAT, generates=True)


async def test_a_body_is_not_read_where_nothing_depends_on_it() -> None:
    assert (await decided(POLICIES, b"{"))[1:] == (b"{", None)


async def test_the_engine_reads_its_own_name_for_the_model_in_the_place_of_an_alias() -> None:
    decision, body, fields = await decided(ALIAS, SAFE)
    assert (decision.policy, decision.model) == ("strict", "m")
    assert body == SAFE.replace(b"safe", b"m")
    assert fields == json.loads(body)


async def test_a_body_that_names_no_alias_stays_as_it_came() -> None:
    body = SAFE.replace(b"safe", b"other")
    decision, sent, fields = await decided(ALIAS, body)
    assert (decision.policy, decision.model, sent, fields) == ("plain", None, body, json.loads(body))


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_the_body_of_a_request_that_only_reads_is_not_looked_at(method: str) -> None:
    decision, body, fields = await decided(ALIAS, SAFE, method=method)
    assert (decision.policy, decision.model, body, fields) == ("plain", None, SAFE, None)


async def test_a_key_holds_for_its_own_models_and_policies() -> None:
    with pytest.raises(NotPermitted, match="the model 'safe' was asked for") as raised:
        await decided(POLICIES, SAFE, caller=Caller("team", models=("m",)))
    assert raised.value.param == "model"
    with pytest.raises(NotPermitted, match="under the policy 'strict'"):
        await decided(POLICIES, SAFE, ("Unhitch-Policy", "strict"), caller=Caller("team", policies=("plain",)))


async def test_a_rollout_goes_by_how_the_conversation_begins() -> None:
    rolled = "policies: {a: {mitigation: bare, rollout: {percent: 50, otherwise: b}}, b: {mitigation: off}}\ndefault: a"
    for number in range(20):
        messages = [{"role": "user", "content": str(number)}]
        decision, *_ = await decided(rolled, json.dumps({"model": "m", "messages": messages}).encode())
        assert decision.policy == ("a" if in_share(50, "a", opening({"messages": messages}) or "") else "b")

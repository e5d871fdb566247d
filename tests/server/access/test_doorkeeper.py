import asyncio
import logging
import traceback
from typing import Any

import pytest

from tests.server.access.conftest import Clock, Filed
from unhitch.errors import HeadersTooLarge, InvalidKey, Overloaded, RateLimited, TooManyAtOnce, UnhitchError
from unhitch_server.access.control import OPERATOR_MARK
from unhitch_server.access.credentials import upstream_headers
from unhitch_server.access.doorkeeper import Doorkeeper
from unhitch_server.upstream.connection import Headers

CONTROL_KEY = "control-key-of-the-tests"


def scope(key: str | None = None, **members: Any) -> dict[str, Any]:
    headers = [(b"host", b"x")] + ([(b"authorization", f"Bearer {key}".encode())] if key is not None else [])
    return {"type": "http", "headers": headers, **members}


def going(doorkeeper: Doorkeeper, came: Headers, engine_key: str | None) -> Headers:
    """What goes to the engine of a request's headers."""
    return upstream_headers(came, engine_key) if doorkeeper.ours(came) else came


async def test_without_a_file_of_keys_anybody_is_let_in_and_headers_go_on_as_they_came() -> None:
    doorkeeper = Doorkeeper()
    came = scope("engine-key")["headers"]
    async with doorkeeper.admit(scope()) as caller:
        assert (caller.name, caller.any_model) == (None, True)
    assert going(doorkeeper, came, "other") == came
    assert not doorkeeper.client_keys


async def test_with_a_file_of_keys_only_those_who_have_one_are_let_in(filed: Filed) -> None:
    secret = filed.add("a", models=["x"])
    doorkeeper = Doorkeeper(filed.path)
    async with doorkeeper.admit(scope(secret)) as caller:
        assert (caller.name, caller.models) == ("a", ("x",))
    for key in (None, "", "wrong", secret[:-1], secret + "x", secret.upper(), CONTROL_KEY):
        with pytest.raises(InvalidKey):
            async with doorkeeper.admit(scope(key)):
                pass


async def test_an_empty_file_lets_nobody_in(filed: Filed) -> None:
    with pytest.raises(InvalidKey):
        async with Doorkeeper(filed.path).admit(scope("anything")):
            pass


async def test_with_keys_the_clients_never_goes_to_the_engine(filed: Filed) -> None:
    secret = filed.add("a")
    went = going(Doorkeeper(filed.path), scope(secret)["headers"], "engine-key")
    assert went == [(b"host", b"x"), (b"authorization", b"Bearer engine-key")]


async def test_the_control_key_never_goes_to_the_engine_even_without_keys_of_clients() -> None:
    doorkeeper = Doorkeeper(control_key=CONTROL_KEY)
    for headers in (
        [(b"authorization", f"Bearer {CONTROL_KEY}".encode())],
        [(b"x-api-key", CONTROL_KEY.encode())],
        [(b"authorization", b"Bearer other"), (b"x-api-key", CONTROL_KEY.encode())],
    ):
        assert going(doorkeeper, headers, None) == []
    came = scope("engine-key")["headers"]
    assert going(doorkeeper, came, None) == came


async def test_the_operator_on_a_control_route_needs_no_key_of_a_client_and_has_no_limit(filed: Filed) -> None:
    doorkeeper = Doorkeeper(filed.path, CONTROL_KEY, most_at_once=1)
    marked = scope(CONTROL_KEY, **{OPERATOR_MARK: True})
    async with doorkeeper.admit(marked), doorkeeper.admit(marked):
        assert doorkeeper.limits.under_way == 0


async def test_limits_of_a_key_hold(filed: Filed, clock: Clock) -> None:
    secret = filed.add("a", per_minute=2, concurrent=1)
    doorkeeper = Doorkeeper(filed.path, clock=clock)
    async with doorkeeper.admit(scope(secret)):
        with pytest.raises(TooManyAtOnce):
            async with doorkeeper.admit(scope(secret)):
                pass
    async with doorkeeper.admit(scope(secret)):
        pass
    with pytest.raises(RateLimited):
        async with doorkeeper.admit(scope(secret)):
            pass


async def test_a_revoked_key_is_refused_and_its_use_forgotten(filed: Filed, clock: Clock) -> None:
    secret, other = filed.add("a", per_minute=10), filed.add("b")
    doorkeeper = Doorkeeper(filed.path, clock=clock)
    async with doorkeeper.admit(scope(secret)):
        filed.revoke("a")
        clock.now += 2
        with pytest.raises(InvalidKey):
            async with doorkeeper.admit(scope(secret)):
                pass
    async with doorkeeper.admit(scope(other)):
        assert doorkeeper.limits.under_way == 1


async def test_the_limit_over_all_holds_without_keys(clock: Clock) -> None:
    doorkeeper = Doorkeeper(most_at_once=1)
    async with doorkeeper.admit(scope()):
        with pytest.raises(Overloaded):
            async with doorkeeper.admit(scope()):
                pass


async def test_too_many_headers_are_refused_before_keys_are_looked_at(filed: Filed) -> None:
    with pytest.raises(HeadersTooLarge):
        async with Doorkeeper(filed.path, most_header_lines=1).admit(scope("wrong")):
            pass


async def test_a_client_that_leaves_gives_its_place_back(filed: Filed) -> None:
    secret = filed.add("a", concurrent=1)
    doorkeeper = Doorkeeper(filed.path)

    async def serve() -> None:
        async with doorkeeper.admit(scope(secret)):
            await asyncio.Event().wait()

    for _ in range(3):
        task = asyncio.create_task(serve())
        await asyncio.sleep(0.01)
        assert doorkeeper.limits.under_way == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert doorkeeper.limits.under_way == 0


async def test_no_error_no_repr_and_no_log_record_holds_a_key(
    filed: Filed, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret, revoked = filed.add("a", per_minute=1, concurrent=1), filed.add("b")
    filed.revoke("b")
    doorkeeper = Doorkeeper(filed.path, CONTROL_KEY, clock=clock)
    presented = (secret, secret, revoked, "unh_wrong-secret", CONTROL_KEY)
    shown = repr(doorkeeper) + repr(vars(doorkeeper))
    for key in presented:
        try:
            async with doorkeeper.admit(scope(key)) as caller:
                shown += repr(caller)
        except UnhitchError as error:
            shown += "".join(traceback.format_exception(error)) + repr(error) + str(error.to_openai())
    filed.path.write_text(f'{{"keys": "{secret}"}}')
    clock.now += 2
    with pytest.raises(RateLimited):
        async with doorkeeper.admit(scope(secret)), doorkeeper.admit(scope(secret)):
            pass
    shown += caplog.text
    assert "stay so" in shown
    for key in set(presented):
        assert key not in shown

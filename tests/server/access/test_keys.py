import base64
import contextlib
import hashlib
import hmac
import json
import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unhitch.errors import InvalidKey, InvalidRequest, KeyFileError
from unhitch_server.access.keys import MOST_KEYS, Keys

ENTRY = {"name": "a", "sha256": "0" * 64, "created": "2026-01-01T00:00:00Z"}


def parse(*entries: dict[str, Any], **document: Any) -> Keys:
    return Keys.parse(json.dumps({"version": 1, "keys": entries, **document}).encode(), Path("keys.json"))


def test_a_new_key_has_256_random_bits_behind_the_prefix() -> None:
    secrets = {Keys().added("a")[1] for _ in range(50)}
    assert len(secrets) == 50
    assert all(secret.startswith("unh_") for secret in secrets)
    assert {len(base64.urlsafe_b64decode(secret[4:] + "=")) for secret in secrets} == {32}


def test_whoever_presents_a_key_is_its_caller() -> None:
    keys, _ = Keys().added("a")
    keys, secret = keys.added("b", models=["mini-*"], policies=["strict"], per_minute=5, concurrent=2)
    caller = keys.find(secret.encode())
    assert (caller.name, caller.models, caller.policies) == ("b", ("mini-*",), ("strict",))
    assert (caller.per_minute, caller.concurrent) == (5, 2)


def test_all_keys_are_compared_to_the_end_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    keys, first = Keys().added("first")
    for name in ("second", "third"):
        keys, _ = keys.added(name)
    compared: list[bytes] = []

    real = hmac.compare_digest

    def noted(known: bytes, given: bytes) -> bool:
        compared.append(known)
        return real(known, given)

    monkeypatch.setattr(hmac, "compare_digest", noted)
    keys.find(first.encode())
    assert compared == [bytes.fromhex(key.sha256) for key in keys.all]


def test_an_unknown_and_a_revoked_key_are_refused_alike() -> None:
    keys, secret = Keys().added("a")
    keys = keys.revoked("a")
    refusals = []
    for presented in (secret.encode(), b"unh_unknown"):
        with pytest.raises(InvalidKey) as caught:
            keys.find(presented)
        refusals.append((caught.value.to_openai(), caught.value.headers, caught.value.status))
    assert refusals[0] == refusals[1]
    assert refusals[0][0]["error"]["code"] == "invalid_api_key"
    assert refusals[0][1:] == (((b"www-authenticate", b"Bearer"),), 401)


def test_no_key_is_refused_with_how_to_send_one() -> None:
    with pytest.raises(InvalidKey, match="Authorization: Bearer"):
        Keys().find(None)


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    keys, _ = Keys().added("a", models=["x"], policies=[], per_minute=3)
    keys = keys.added("b")[0].revoked("b")
    keys.write(tmp_path / "keys.json")
    assert Keys.read(tmp_path / "keys.json").all == keys.all


def test_the_file_and_every_repr_hold_no_key(tmp_path: Path) -> None:
    keys, secret = Keys().added("a")
    keys.write(tmp_path / "keys.json")
    caller = keys.find(secret.encode())
    shown = (tmp_path / "keys.json").read_text() + repr(keys.all) + repr(keys) + repr(caller) + str(vars(keys))
    assert secret not in shown
    assert secret[4:] not in shown
    digest = hashlib.sha256(secret.encode()).hexdigest()
    assert digest not in repr(keys.all) + repr(caller)


@pytest.mark.parametrize("name", ["", "-a", ".a", "a b", "a/b", "a\n", "ä", "a" * 65, "*", "a*"])
def test_names_are_plain_words(name: str) -> None:
    with pytest.raises(InvalidRequest, match="is no name for a key"):
        Keys().added(name)


def test_a_name_is_never_used_twice() -> None:
    keys = Keys().added("a")[0].revoked("a")
    with pytest.raises(InvalidRequest, match="named 'a' already"):
        keys.added("a")


def test_a_pattern_has_its_star_at_the_end() -> None:
    with pytest.raises(InvalidRequest, match=r"models\.0"):
        Keys().added("a", models=["*-base"])


def test_revoking_twice_keeps_the_first_date() -> None:
    keys = Keys().added("a")[0].revoked("a")
    assert keys.revoked("a").all == keys.all


def test_revoking_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(InvalidRequest, match="no key is named 'b'; there are: a"):
        Keys().added("a")[0].revoked("b")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"sha256": "0" * 63}, r"keys\.0\.sha256"),
        ({"sha256": "A" * 64}, r"keys\.0\.sha256"),
        ({"name": "a b"}, r"keys\.0\.name"),
        ({"name": "a\n"}, r"keys\.0\.name"),
        ({"created": "2026-01-01T00:00:00"}, r"keys\.0\.created"),
        ({"per_minute": 0}, r"keys\.0\.per_minute"),
        ({"concurrent": -1}, r"keys\.0\.concurrent"),
        ({"models": ["a*b"]}, r"keys\.0\.models\.0"),
        ({"models": "a"}, r"keys\.0\.models"),
        ({"key": "x"}, r"keys\.0\.key"),
    ],
)
def test_a_damaged_entry_is_named(entry: dict[str, Any], said: str) -> None:
    with pytest.raises(KeyFileError, match=said):
        parse({**ENTRY, **entry})


def test_names_and_hashes_are_there_once() -> None:
    with pytest.raises(KeyFileError, match="the same name"):
        parse(ENTRY, {**ENTRY, "sha256": "1" * 64})
    with pytest.raises(KeyFileError, match="the same hash"):
        parse(ENTRY, {**ENTRY, "name": "b"})


def test_another_version_and_too_many_keys_are_refused() -> None:
    with pytest.raises(KeyFileError, match="version"):
        parse(version=2)
    entries = [{**ENTRY, "name": f"a{i}", "sha256": f"{i:064x}"} for i in range(MOST_KEYS + 1)]
    with pytest.raises(KeyFileError, match="keys: "):
        parse(*entries)


def test_a_key_that_stands_in_the_file_by_mistake_is_in_no_error_and_no_chain(tmp_path: Path) -> None:
    secret = Keys().added("a")[1]
    for content in (
        json.dumps({"version": 1, "keys": [{**ENTRY, "sha256": secret}]}),
        json.dumps({"version": 1, "keys": secret}),
        secret,
        f'{{"keys": [{secret}',
        json.dumps(
            {"version": 1, "keys": [{**ENTRY, "created": secret, "models": [f"{secret} x"], "revoked": secret}]}
        ),
    ):
        (tmp_path / "keys.json").write_text(content)
        with pytest.raises(KeyFileError) as caught:
            Keys.read(tmp_path / "keys.json")
        assert caught.value.__cause__ is caught.value.__context__ is None
        assert secret not in "".join(traceback.format_exception(caught.value)) + repr(caught.value)


@given(
    st.binary(max_size=400)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_whatever_a_file_holds_it_is_keys_or_a_fault_of_the_file(content: bytes) -> None:
    with contextlib.suppress(KeyFileError):
        Keys.parse(content, Path("keys.json"))

import io
import logging
from collections.abc import Iterator

import pytest

from unhitch_server.access.keys import Keys
from unhitch_server.access.redaction import HIDDEN, Redaction, redact_logs

SECRET = "sk-Qz7.v_x-1/+=abcdefgh"
OWN = Keys().added("a")[1]


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {SECRET}",
        f"authorization: bearer {SECRET}, accept: */*",
        f"{{'authorization': 'Bearer {SECRET}', 'a': 'b'}}",
        f'{{"Authorization":"Bearer {SECRET}"}}',
        f"[(b'authorization', b'Bearer {SECRET}'), (b'a', b'b')]",
        f"(b'x-api-key', b'{SECRET}')",
        f"x-api-key={SECRET}",
        f"<CIMultiDict('Authorization': 'Bearer {SECRET}')>",
        f"Proxy-Authorization: Basic {SECRET}",
        f"api_key='{SECRET}'",
        f"sent Bearer {SECRET}",
        f"authorization: {SECRET}",
    ],
)
def test_a_key_in_a_header_is_hidden_in_any_notation(text: str) -> None:
    hidden = Redaction().hide(text)
    assert SECRET not in hidden
    assert HIDDEN in hidden


def test_our_keys_are_hidden_wherever_they_stand() -> None:
    assert Redaction().hide(f"GET /v1/models?key={OWN}&a=b") == f"GET /v1/models?key={HIDDEN}&a=b"


def test_known_secrets_are_hidden_whatever_they_look_like() -> None:
    redaction = Redaction(["hunter2!hunter2", "hunter2!hunter2-longer", None, "", "the"])
    assert redaction.hide("the hunter2!hunter2-longer and hunter2!hunter2") == f"the {HIDDEN} and {HIDDEN}"


@pytest.mark.parametrize(
    "text",
    [
        "POST /v1/chat/completions 200",
        "no authorization",
        "12 keys were read",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert Redaction().hide(text) == text


def test_other_words_of_the_line_stay() -> None:
    hidden = Redaction().hide(f"{{'authorization': 'Bearer {SECRET}', 'accept': 'text/plain'}}")
    assert hidden == f"{{'authorization': 'Bearer {HIDDEN}', 'accept': 'text/plain'}}"


def test_long_runs_of_blanks_take_no_time() -> None:
    Redaction().hide("authorization:" + " " * 200_000 + "authorization" * 10_000)


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    stream, root = io.StringIO(), logging.getLogger()
    handler = logging.StreamHandler(stream)
    root.addHandler(handler)
    redact_logs([SECRET])
    yield logging.getLogger("some.library"), stream
    root.removeHandler(handler)
    redact_logs()


def test_what_a_library_logs_is_hidden(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = log
    logger.warning("headers %s of %d", {"Authorization": "Bearer not-known-before"}, 1)
    logger.warning("a key: %s", OWN)
    logger.warning("%(a)s", {"a": SECRET})
    text = stream.getvalue()
    assert "not-known-before" not in text
    assert OWN not in text
    assert SECRET not in text
    assert text.count(HIDDEN) == 3


def test_tracebacks_are_hidden_with_the_errors_behind_them(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = log
    try:
        try:
            raise ValueError(f"Authorization: Bearer {OWN}")
        except ValueError as inner:
            raise RuntimeError(f"while {SECRET}") from inner
    except RuntimeError:
        logger.exception("failed")
    text = stream.getvalue()
    assert "RuntimeError" in text
    assert "ValueError" in text
    assert OWN not in text
    assert SECRET not in text


def test_a_message_that_does_not_fit_its_arguments_shows_none_of_them(
    log: tuple[logging.Logger, io.StringIO], capsys: pytest.CaptureFixture[str]
) -> None:
    logger, stream = log
    logger.warning("%d", "Authorization: Bearer not-known-before")
    assert "not-known-before" not in stream.getvalue() + capsys.readouterr().err


def test_arguments_stay_apart_for_formatters_that_count_them() -> None:
    record = logging.LogRecord("a", logging.INFO, "", 0, '%s "%s" %d', ("host", f"GET /?k={OWN}", 200), None)
    assert Redaction().filter(record)
    assert record.args == ("host", f"GET /?k={HIDDEN}", 200)


def test_redacting_again_replaces_the_secrets(log: tuple[logging.Logger, io.StringIO]) -> None:
    for _ in range(3):
        redact_logs([SECRET])
    assert all(
        sum(isinstance(each, Redaction) for each in handler.filters) == 1 for handler in logging.getLogger().handlers
    )

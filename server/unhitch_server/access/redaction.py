"""Keeps keys out of the log, whoever writes to it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable

from unhitch_server.access.keys import PREFIX

HIDDEN = "<hidden>"

_SHORTEST_SECRET = 8  # less could be any word of a sentence

_PATTERNS = (
    # A header in any notation: `Authorization: Bearer x`, `'authorization': 'Bearer x'`, `(b'x-api-key', b'x')`.
    re.compile(
        r"""(?ix) (\b(?:proxy-)?authorization\b|\bx?-?api[-_]key\b)   # the name
        (['"]?\s{0,4}[:=,]\s{0,4}(?:b(?=['"]))?['"]?\s{0,4})                     # what stands between
        (?:(bearer|basic)\s{1,4})? [^\s'",;)\]}]+"""
    ),
    re.compile(r"(?i)(\bbearer)(\s+)()[^\s'\",;)\]}]+"),
    re.compile(rf"()()(){PREFIX}[A-Za-z0-9_-]{{16,}}"),
)


class Redaction(logging.Filter):
    """Hides what looks like a key in log records. Belongs on handlers: filters of loggers see no records from below.

    Args:
        secrets: Hidden wherever they stand, whatever they look like; those of a few characters are left out.
    """

    def __init__(self, secrets: Iterable[str | None] = ()) -> None:
        super().__init__()
        known = sorted((each for each in secrets if each and len(each) >= _SHORTEST_SECRET), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def hide(self, text: str) -> str:
        """The text without keys."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        for pattern in _PATTERNS:
            text = pattern.sub(_hidden, text)
        return text

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrites a record: its message, and the traceback that comes with it."""
        if isinstance(record.args, tuple):  # kept one by one, since uvicorn's formatter of accesses counts them
            record.args = tuple(self.hide(each) if isinstance(each, str) else each for each in record.args)
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            message, record.msg, record.args = "", "a log message that does not fit its arguments", None
        if (hidden := self.hide(message)) != message:
            record.msg, record.args = hidden, None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = self.hide(record.exc_text)
        return True


def redact_logs(secrets: Iterable[str | None] = ()) -> None:
    """Hides keys in all that the handlers of the root logger and of uvicorn write. Call it once they are there.

    Args:
        secrets: Of the settings: the engine's key, the control key and the like.
    """
    redaction = Redaction(secrets)
    for name in (None, "uvicorn", "uvicorn.error", "uvicorn.access"):
        for handler in logging.getLogger(name).handlers:
            for earlier in [each for each in handler.filters if isinstance(each, Redaction)]:
                handler.removeFilter(earlier)
            handler.addFilter(redaction)


def _hidden(match: re.Match[str]) -> str:
    scheme = f"{match[3]} " if match[3] else ""
    return f"{match[1]}{match[2]}{scheme}{HIDDEN}"

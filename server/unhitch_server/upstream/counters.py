"""Plain counts of what became of requests, and the one that must stay zero."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from unhitch_server.reply import ClientGone, Reply

_log = logging.getLogger(__name__)

_ANSWERS = range(200, 400)


@dataclass(slots=True)
class Tally:
    """What is noted of one request while it is served.

    Args:
        mitigating: Whether its answer must be mitigated.
    """

    mitigating: bool = False


@dataclass(slots=True)
class Counters:
    """What became of all requests; each is under way or in exactly one of the next five counts.

    Args:
        requests: All that came.
        under_way: Those that have not ended.
        mitigated: Answered with the mitigation that was due.
        off: Passed to the engine as they came, and its answer back.
        refused: Answered with a status from 400 to 499, nothing having been generated.
        failed: Answered with a status of 500 and more, or broken off.
        gone: The client left before the end of its answer.
        failed_open: Those of `off` that policies let through since their mitigation could not be made.
        unmitigated: Those of all of which a byte was answered without the mitigation that was due. It must stay zero.
    """

    requests: int = 0
    under_way: int = 0
    mitigated: int = 0
    off: int = 0
    refused: int = 0
    failed: int = 0
    gone: int = 0
    failed_open: int = 0
    unmitigated: int = 0

    @contextmanager
    def counted(self, reply: Reply) -> Iterator[Tally]:
        """Counts the request that is served in the block.

        What it was answered is taken from what went to the client, not from what the proxy meant to send.

        Args:
            reply: Its answer.
        """
        self.requests += 1
        self.under_way += 1
        tally, how = Tally(), "failed"
        try:
            yield tally
            how = _ending(tally, reply)
        except ClientGone:
            how = "gone"
            raise
        finally:
            self.under_way -= 1
            setattr(self, how, getattr(self, how) + 1)
            if tally.mitigating and not reply.applied and reply.status in _ANSWERS:
                self.unmitigated += 1
                _log.error("an answer went out without the mitigation that was due; this is a fault of the proxy")

    def as_dict(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


def _ending(tally: Tally, reply: Reply) -> str:
    """The count that a request belongs to that ended without an exception."""
    if reply.broken or not reply.started or reply.status >= 500:
        return "failed"
    if reply.status >= 400:
        return "refused"
    return "mitigated" if tally.mitigating else "off"

"""The shadow arm: a share of requests is asked once more under another mitigation, off the path, to be judged later."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unhitch.errors import UnhitchError
from unhitch_server.aside.asking import Collected, Serve, ask_again
from unhitch_server.background import Background
from unhitch_server.exchange import Exchange

MOST_AT_ONCE = 4
"""Requests that are asked again at the same time; those of the sample that come meanwhile are left out, and counted."""

_KEPT_HEADERS = ("unhitch-applied", "unhitch-receipt", "content-type")

_log = logging.getLogger(__name__)


@dataclass
class Counts:
    """How many requests were to be asked again, and what became of them."""

    asked: int = 0
    busy: int = 0
    failed: int = 0


@dataclass(frozen=True)
class ShadowFile:
    """Where both answers go, one JSON object a line: `at`, `path`, `request`, and `arms` with `primary` and `shadow`.

    It holds prompts and answers, so nobody but its owner may read it.

    Args:
        path: The file; made on first use.
        most_bytes: It grows no further.
    """

    path: Path
    most_bytes: int = 2**30

    def append(self, record: Mapping[str, Any]) -> None:
        """Writes a record. Blocks: call it in a thread.

        Raises:
            UnhitchError: The file is full.
            OSError: It cannot be written.
        """
        line = json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as file:
            if file.tell() + len(line) > self.most_bytes:
                raise UnhitchError(f"{self.path} has {file.tell()} bytes, and at most {self.most_bytes} are written")
            file.write(line)


@dataclass
class Shadows:
    """Asks requests again, beside their path.

    Args:
        file: Where both answers go.
        chance: Decides which requests are taken into the sample.
    """

    file: ShadowFile
    chance: random.Random = field(default_factory=random.SystemRandom)
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self.beside = Background()
        """What is being asked again."""

    def drawn(self, percent: float) -> bool:
        """Whether a request is in the sample.

        Args:
            percent: Its share, 0 to 100.
        """
        return self.chance.random() * 100 < percent

    def follow(self, exchange: Exchange, primary: Collected, serve: Serve) -> None:
        """Asks again what was answered, and keeps both answers; does nothing where too many are under way.

        Args:
            exchange: The request, served.
            primary: What the client got.
            serve: Serves it under the other mitigation.
        """
        if len(self.beside) >= MOST_AT_ONCE:
            self.counts.busy += 1
            return
        self.beside.start(self._ask(exchange, primary, serve))

    async def close(self) -> None:
        """Ends what is under way."""
        await self.beside.close()

    async def _ask(self, exchange: Exchange, primary: Collected, serve: Serve) -> None:
        try:
            shadow = await ask_again(exchange, serve)
            record = {
                "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "path": exchange.path,
                "request": exchange.body.decode("utf-8", "replace"),
                "arms": {"primary": _arm(primary), "shadow": _arm(shadow)},
            }
            await asyncio.to_thread(self.file.append, record)
            self.counts.asked += 1
        except Exception as error:  # nobody waits for this task
            self.counts.failed += 1
            _log.warning("a request could not be asked again for the shadow arm: %r", error)


def _arm(answer: Collected) -> dict[str, Any]:
    return {
        "status": answer.status,
        "headers": {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers},
        "body": answer.body.decode("utf-8", "replace"),
        "bytes": answer.size,
        "complete": answer.complete,
    }

"""The shadow arm: a share of requests, off the path, both answers kept."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import stat
from pathlib import Path

import pytest

from unhitch.errors import UnhitchError
from unhitch_server.aside.asking import Collected
from unhitch_server.aside.shadow import MOST_AT_ONCE, ShadowFile, Shadows
from unhitch_server.exchange import Exchange
from unhitch_server.receipts import Stopwatch
from unhitch_server.reply import Reply


def exchange(body: bytes = b"{}") -> Exchange:
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": []}
    return Exchange(scope, Reply(Collected().to()), Stopwatch(), body)


async def answered(text: bytes) -> Collected:
    collected = Collected()
    await Reply(collected.to()).whole(200, [(b"unhitch-applied", b"bare")], text)
    return collected


async def test_both_answers_stand_in_one_line_that_only_the_owner_reads(tmp_path: Path) -> None:
    shadows = Shadows(ShadowFile(tmp_path / "new" / "shadow.jsonl"))

    async def serve(again: Exchange) -> None:
        await again.reply.whole(200, [(b"unhitch-applied", b"off")], b"unmitigated")

    for _ in range(2):
        shadows.follow(exchange('{"a": "é"}'.encode()), await answered(b"mitigated"), serve)
    await shadows.beside.finished()
    lines = (tmp_path / "new" / "shadow.jsonl").read_text("utf-8").splitlines()
    record = json.loads(lines[0])
    assert (len(lines), record["request"], record["path"]) == (2, '{"a": "é"}', "/v1/chat/completions")
    assert [(arm["headers"]["unhitch-applied"], arm["body"]) for arm in record["arms"].values()] == [
        ("bare", "mitigated"),
        ("off", "unmitigated"),
    ]
    assert stat.S_IMODE((tmp_path / "new" / "shadow.jsonl").stat().st_mode) == 0o600
    assert shadows.counts.asked == 2


def test_the_sample_has_its_share(tmp_path: Path) -> None:
    shadows = Shadows(ShadowFile(tmp_path / "x"), chance=random.Random(0))
    drawn = sum(shadows.drawn(10) for _ in range(10_000))
    assert 900 < drawn < 1_100
    assert not any(shadows.drawn(0) for _ in range(100))
    assert all(shadows.drawn(100) for _ in range(100))


async def test_what_comes_while_enough_are_under_way_is_left_out_and_counted(tmp_path: Path) -> None:
    shadows, held = Shadows(ShadowFile(tmp_path / "x")), asyncio.Event()

    async def serve(again: Exchange) -> None:
        await held.wait()
        await again.reply.whole(200, [], b"")

    for _ in range(MOST_AT_ONCE + 3):
        shadows.follow(exchange(), await answered(b""), serve)
    held.set()
    await shadows.beside.finished()
    assert (shadows.counts.asked, shadows.counts.busy) == (MOST_AT_ONCE, 3)


async def test_a_fault_is_counted_and_reaches_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="unhitch_server")
    shadows = Shadows(ShadowFile(tmp_path / "x"))

    async def serve(_: Exchange) -> None:
        raise RuntimeError("broken")

    shadows.follow(exchange(), await answered(b""), serve)
    await shadows.beside.finished()
    assert (shadows.counts.failed, shadows.counts.asked) == (1, 0)
    assert "broken" in caplog.text


def test_a_full_file_grows_no_further(tmp_path: Path) -> None:
    file = ShadowFile(tmp_path / "x", most_bytes=40)
    file.append({"a": "x" * 10})
    with pytest.raises(UnhitchError, match="at most 40 are written"):
        file.append({"a": "x" * 30})
    assert len((tmp_path / "x").read_text().splitlines()) == 1


async def test_closing_ends_what_is_under_way(tmp_path: Path) -> None:
    shadows = Shadows(ShadowFile(tmp_path / "x"))

    async def serve(_: Exchange) -> None:
        await asyncio.Event().wait()

    shadows.follow(exchange(), await answered(b""), serve)
    await asyncio.sleep(0)
    await shadows.close()
    assert not (tmp_path / "x").exists()

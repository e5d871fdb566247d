import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.types import Send

from tests.server.fake_engine import MODEL, FakeEngine, Handler, Recorded, reply_json, tokenize
from unhitch import organisms
from unhitch.errors import ModelNotFound
from unhitch.evidence.served import identify
from unhitch_server.config import Config
from unhitch_server.engine import Engine
from unhitch_server.upstream.connection import Upstream


@pytest.fixture
async def known(engine: FakeEngine) -> AsyncIterator[Engine]:
    config = Config(upstream=engine.url)
    async with Upstream(config) as upstream:
        yield Engine(config, upstream)


async def test_what_was_seen_once_is_not_asked_again(engine: FakeEngine, known: Engine) -> None:
    for name in (MODEL, MODEL, None, None):
        assert (await known.customer(name)).name == MODEL
    assert len(engine.asked("/v1/models")) == 1


async def test_first_requests_at_the_same_time_share_the_probes(engine: FakeEngine, known: Engine) -> None:
    await asyncio.gather(*(known.customer(MODEL) for _ in range(20)))
    assert len(engine.asked("/v1/models")) == 1
    assert len(engine.asked("/v1/chat/completions")) == 1


async def test_forgetting_while_a_model_is_prepared_leaves_nothing_half_known(
    engine: FakeEngine, known: Engine
) -> None:
    asked, released = asyncio.Event(), asyncio.Event()

    async def held(fake: FakeEngine, request: Recorded, send: Send) -> None:
        asked.set()
        await released.wait()
        await tokenize(fake, request, send)

    engine.routes["/tokenize"] = held
    preparing = asyncio.create_task(known.customer(MODEL))
    await asked.wait()
    known.forget()
    released.set()
    assert (await preparing).name == MODEL
    assert (await known.customer(MODEL)).name == MODEL
    assert (await known.customer(None)).name == MODEL


async def test_a_model_that_moved_is_read_from_its_new_place(engine: FakeEngine, tmp_path: Path) -> None:
    config = Config(upstream=engine.url, recheck_seconds=0)
    async with Upstream(config) as upstream:
        known = Engine(config, upstream)
        await known.customer(MODEL)
        engine.root = str(shutil.copytree(organisms.path(MODEL), tmp_path / "moved"))
        assert list(await known.models()) == [MODEL]
        assert (await known.customer(MODEL)).checkpoint.path == tmp_path / "moved"


async def test_an_unknown_name_is_looked_up_anew_and_refused(engine: FakeEngine, known: Engine) -> None:
    await known.customer(MODEL)
    for _ in range(2):
        with pytest.raises(ModelNotFound, match=MODEL):
            await known.customer("gpt-9")
    assert len(engine.asked("/v1/models")) == 3


async def test_an_adapter_shares_the_files_of_its_base(engine: FakeEngine, known: Engine) -> None:
    async def both(fake: FakeEngine, request: Recorded, send: Send) -> None:
        base = {"id": MODEL, "root": fake.root, "parent": None}
        await reply_json(send, {"data": [base, {"id": "tuned", "root": "/nowhere/adapter", "parent": MODEL}]})

    engine.routes["/v1/models"] = both
    base, tuned = await asyncio.gather(known.customer(MODEL), known.customer("tuned"))
    assert base.checkpoint is tuned.checkpoint
    assert (base.base, tuned.base, tuned.root) == (None, MODEL, "/nowhere/adapter")


def serving_adapter(root: str) -> Handler:
    async def both(fake: FakeEngine, request: Recorded, send: Send) -> None:
        base = {"id": MODEL, "root": fake.root, "parent": None}
        await reply_json(send, {"data": [base, {"id": "tuned", "root": root, "parent": MODEL}]})

    return both


async def test_a_served_model_is_identified_by_its_own_files_and_its_bases(engine: FakeEngine, known: Engine) -> None:
    finance = organisms.path("mini-finance")
    engine.routes["/v1/models"] = serving_adapter(str(finance))
    base, tuned = await asyncio.gather(known.customer(MODEL), known.customer("tuned"))
    assert base.identity == identify(base.checkpoint, organisms.path(MODEL))
    assert tuned.identity == identify(base.checkpoint, finance, organisms.path(MODEL))
    assert tuned.unidentified == ""


async def test_the_settings_say_where_an_adapter_lies_here(engine: FakeEngine, tmp_path: Path) -> None:
    here = shutil.copytree(organisms.path("mini-finance"), tmp_path / "here")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(organisms.path(MODEL) / name, here)
    engine.routes["/v1/models"] = serving_adapter("/nowhere/adapter")
    config = Config(upstream=engine.url, checkpoints={"tuned": str(here)})
    async with Upstream(config) as upstream:
        tuned = await Engine(config, upstream).customer("tuned")
    assert tuned.identity == identify(tuned.checkpoint, here, organisms.path(MODEL))


async def test_an_adapter_that_is_not_here_is_mitigated_and_not_identified(engine: FakeEngine, known: Engine) -> None:
    engine.routes["/v1/models"] = serving_adapter("/nowhere/adapter")
    tuned = await known.customer("tuned")
    assert tuned.identity is None
    assert "The engine says that they lie in '/nowhere/adapter'." in tuned.unidentified


async def test_files_that_changed_in_place_are_identified_anew_when_all_is_checked_again(
    engine: FakeEngine, tmp_path: Path
) -> None:
    engine.root = str(shutil.copytree(organisms.path(MODEL), tmp_path / "model"))
    config = Config(upstream=engine.url, recheck_seconds=0)
    async with Upstream(config) as upstream:
        known = Engine(config, upstream)
        first = (await known.customer(MODEL)).identity
        assert (await known.customer(MODEL)).identity is first
        settings = tmp_path / "model" / "config.json"
        settings.write_text(settings.read_text().replace("{", '{"new": 1,', 1))
        assert (await known.customer(MODEL)).identity != first

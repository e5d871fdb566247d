"""Tiny models of every shape, and an engine that serves a finetune of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from tests.e2e.states import shapes
from tests.e2e.states.cases import Bench
from tests.e2e.states.engines import Engine, engine

Make = Callable[..., shapes.Checkpoints]
SERVED = [f"{shape}-{kind}" for shape in shapes.NAMES for kind in ("adapter", "finetuned")]


@dataclass(frozen=True)
class Served:
    """A bench, and the engine that serves its finetune."""

    bench: Bench
    engine: Engine


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small gain nothing by threads, which cost much where other processes run too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes the checkpoints of a shape, once."""
    made: dict[str, shapes.Checkpoints] = {}

    def make(shape: str, **changes: Any) -> shapes.Checkpoints:
        key = f"{shape} {changes}"
        if key not in made:
            made[key] = shapes.make(shape, tmp_path_factory.mktemp(shape), **changes)
        return made[key]

    return make


@pytest.fixture(scope="module", params=SERVED)
def served(request: pytest.FixtureRequest, make: Make, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Every shape, with an adapter and as a whole finetune, in float32."""
    shape, kind = request.param.split("-")
    bench = Bench(make(shape), kind, tmp_path_factory.mktemp("states"))
    with engine(bench.model, bench.folder, adapter=bench.adapter) as started:
        yield Served(bench, started)

"""Synthetic runs: answers that come in clusters, with a truth that is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from unhitch.evals.statistics.paired import compare
from unhitch.evals.statistics.verdict import Check, judge_all

Table = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """Beta-binomial answers of two arms.

    Args:
        clusters: How many, of one question each.
        draws: Answers to each question.
        rate: The true share of passthrough.
        icc: How alike answers to one question are: 0 not at all, 1 entirely.
        strategy: The true share of the strategy; that of passthrough without it.
        shared: Part of the questions that are as hard under the strategy as under passthrough; the others are anew.
    """

    clusters: int
    draws: int
    rate: float
    icc: float
    strategy: float | None = None
    shared: float = 0.8

    @property
    def strategy_rate(self) -> float:
        return self.rate if self.strategy is None else self.strategy

    @property
    def index(self) -> NDArray[np.intp]:
        return np.arange(self.clusters)


def shares(setting: Setting, runs: int, seed: int = 0) -> Iterator[Table]:
    """Tables of passthrough: `[questions, draws]`, 0 or 1."""
    for _, passthrough in arms(setting, runs, seed):
        yield passthrough


def arms(setting: Setting, runs: int, seed: int = 0) -> Iterator[tuple[Table, Table]]:
    """Tables of strategy and passthrough, which share how hard the questions are."""
    generator = np.random.default_rng(seed)
    size = (runs, setting.clusters)
    hardness = generator.random(size)
    same = generator.random(size) < setting.shared
    other = np.where(same, hardness, generator.random(size))
    strategy = _answers(setting, setting.strategy_rate, other, generator)
    passthrough = _answers(setting, setting.rate, hardness, generator)
    yield from zip(strategy, passthrough, strict=True)


def words(clusters: int, draws: int, runs: int, seed: int = 0) -> tuple[float, Table]:
    """The true mean, and lengths of answers, log-normal with long ones in some clusters: `[runs, questions, draws]`."""
    generator = np.random.default_rng(seed)
    logs = generator.normal(4, 0.5, (runs, clusters, 1)) + generator.normal(0, 0.5, (runs, clusters, draws))
    return float(np.exp(4.25)), np.exp(logs)


@dataclass(frozen=True)
class Pair:
    """One comparison of a run: two tables that differ by chance alone."""

    strategy: Table
    passthrough: Table
    index: NDArray[np.intp]
    top: float | None
    better: Literal["lower", "higher"]


def unaffected_runs(runs: int, seed: int = 0) -> Iterator[list[Pair]]:
    """Validations of a strategy without effect: twelve guard cells, and eight checks of as many kinds."""
    cells = [
        Setting(clusters, draws, rate, icc)
        for clusters, draws in ((20, 1), (20, 5), (40, 3), (60, 5))
        for rate, icc in ((0.05, 0.6), (0.2, 0.3), (0.5, 0.1))
    ]
    checks = [Setting(60, 3, rate, icc) for rate, icc in ((0.95, 0.2), (0.1, 0.4), (0.6, 0.3), (0.3, 0.0))]
    settings = cells + checks
    tables = [arms(setting, runs, seed + number) for number, setting in enumerate(settings)]
    generator = np.random.default_rng(seed)
    for _ in range(runs):
        pairs = [Pair(*next(table), setting.index, 1, "lower") for table, setting in zip(tables, settings, strict=True)]
        pairs[12:14] = [replace(pair, better="higher") for pair in pairs[12:14]]
        for clusters in (20, 60):
            scored, before = (100 / (1 + np.exp(-2 - logits)) for logits in _alike(clusters, generator))
            longer, length = (np.exp(4 + logs) for logs in _alike(clusters, generator))
            pairs.append(Pair(scored, before, np.arange(clusters), 100, "higher"))
            pairs.append(Pair(longer, length, np.arange(clusters), None, "lower"))
        yield pairs


def flags(pairs: list[Pair]) -> bool:
    """Whether a validation fails anything, with nothing worse allowed."""
    checks = [
        Check(str(n), compare(pair.strategy, pair.passthrough, pair.index, top=pair.top), pair.better)
        for n, pair in enumerate(pairs)
    ]
    return any(ruling.verdict == "fail" for ruling in judge_all(checks))


def _alike(clusters: int, generator: np.random.Generator) -> Table:
    """Two continuous tables over the same questions: `[2, clusters, 3]`."""
    return generator.normal(0, 0.7, (1, clusters, 1)) + generator.normal(0, 0.7, (2, clusters, 3))


def _answers(setting: Setting, rate: float, hardness: Table, generator: np.random.Generator) -> Table:
    chance = np.full(hardness.shape, rate)
    if setting.icc:
        strength = 1 / setting.icc - 1
        chance = betaincinv(rate * strength, (1 - rate) * strength, hardness)
    drawn = generator.random((*hardness.shape, setting.draws)) < chance[:, :, None]
    return drawn.astype(np.float64)

"""How often 95% intervals hold the truth: those that unhitch shows, beside two bootstraps over clusters.

    python -m tests.benchmarks.coverage [--markdown] [--runs 1000] [--resamples 999]

Answers are drawn from known shares (beta-binomial questions, the two arms over the same questions), so that the truth
is known. It ends with how often a whole validation flags a strategy that has no effect.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track

from tests.benchmarks.tables import Markdown, show
from tests.unhitch.evals.statistics.synthetic import Setting, arms, flags, shares, unaffected_runs, words
from unhitch.evals.statistics.bootstrap import resample, studentised
from unhitch.evals.statistics.clustered import Clustered, clustered
from unhitch.evals.statistics.paired import compare, differences
from unhitch.evals.statistics.rates import rate

COLUMNS = ("of", "clusters", "answers", "truth", "ICC", "unhitch", "bootstrap-t", "percentile")
SHARES = tuple(
    Setting(clusters, draws, share, icc)
    for clusters in (20, 60, 180)
    for draws, icc in ((1, 0.0), (3, 0.3), (10, 0.1), (10, 0.6))
    for share in (0.05, 0.3, 0.9)
)
DIFFERENCES = tuple(
    Setting(clusters, draws, before, icc, after)
    for clusters in (20, 60, 180)
    for draws, icc in ((1, 0.3), (3, 0.3), (10, 0.6))
    for before, after in ((0.05, 0.05), (0.3, 0.3), (0.4, 0.05), (0.05, 0.15))
)
LENGTHS = tuple((clusters, draws) for clusters in (20, 60, 180) for draws in (1, 5))


@dataclass
class Tally:
    """How often each kind of interval held the truth."""

    truth: float
    runs: int = 0
    held: dict[str, int] = field(default_factory=dict)

    def add(self, shown: tuple[float | None, float | None], sums: Clustered, resamples: int) -> None:
        self.runs += 1
        drawn = resample(sums, resamples=resamples, seed=self.runs) if sums.variance else None
        flat = (sums.mean, sums.mean)
        percentile = flat if drawn is None else tuple(np.quantile(drawn.means, (0.025, 0.975)))
        measured = flat if drawn is None else studentised(sums, resamples=resamples, seed=self.runs)
        for name, (low, high) in (("unhitch", shown), ("bootstrap-t", measured), ("percentile", percentile)):
            assert low is not None
            assert high is not None
            self.held[name] = self.held.get(name, 0) + (low <= self.truth <= high)

    def cells(self) -> tuple[str, ...]:
        return tuple(f"{100 * self.held[name] / self.runs:.1f}" for name in COLUMNS[-3:])


def share_row(setting: Setting, runs: int, resamples: int) -> tuple[str, ...]:
    tally = Tally(setting.rate)
    for values in shares(setting, runs):
        found = rate(values, setting.index)
        tally.add((found.low, found.high), clustered(values, setting.index), resamples)
    return ("share", *_described(setting, f"{setting.rate:g}"), *tally.cells())


def difference_row(setting: Setting, runs: int, resamples: int) -> tuple[str, ...]:
    tally = Tally(setting.strategy_rate - setting.rate)
    for strategy, passthrough in arms(setting, runs):
        found = compare(strategy, passthrough, setting.index)
        sums = clustered(differences(strategy, passthrough), setting.index)
        tally.add((found.low, found.high), sums, resamples)
    return ("difference", *_described(setting, f"{setting.rate:g} → {setting.strategy_rate:g}"), *tally.cells())


def length_row(size: tuple[int, int], runs: int, resamples: int) -> tuple[str, ...]:
    clusters, draws = size
    truth, tables = words(clusters, draws, runs)
    tally, index = Tally(truth), np.arange(clusters)
    for values in tables:
        found = rate(values, index, top=None, resamples=resamples)
        tally.add((found.low, found.high), clustered(values, index), resamples)
    return ("length", str(clusters), str(draws), f"{truth:.1f}", "0.5", *tally.cells())


def main(
    *,
    markdown: Markdown = False,
    runs: Annotated[int, typer.Option(min=1, help="Synthetic runs of each setting.")] = 1000,
    resamples: Annotated[int, typer.Option(min=39, help="Resamples of the bootstraps.")] = 999,
) -> None:
    """Prints how often intervals of 95% hold the truth, in percent."""
    work: list[Callable[[], tuple[str, ...]]] = [
        *(lambda setting=setting: share_row(setting, runs, resamples) for setting in SHARES),
        *(lambda setting=setting: difference_row(setting, runs, resamples) for setting in DIFFERENCES),
        *(lambda size=size: length_row(size, runs, resamples) for size in LENGTHS),
    ]
    console = Console(stderr=True)
    rows = [row() for row in track(work, description="simulating", console=console, transient=True)]
    show("Coverage of 95% intervals, in percent", COLUMNS, rows, markdown=markdown)
    flagged = sum(flags(pairs) for pairs in unaffected_runs(runs))
    print(
        f"\nPercent of {runs} runs in which an interval of 95% holds the truth; {resamples} resamples. Of {runs} "
        f"validations of a strategy without effect, with 20 comparisons each, {flagged} flagged anything "
        f"({100 * flagged / runs:.1f}%)."
    )


def _described(setting: Setting, truth: str) -> tuple[str, ...]:
    return str(setting.clusters), str(setting.draws), truth, f"{setting.icc:g}"


if __name__ == "__main__":
    typer.run(main)

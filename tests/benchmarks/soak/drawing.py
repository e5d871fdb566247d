"""The plot of a soak."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.benchmarks.soak.driving import Course
from tests.benchmarks.soak.world import World


def draw(file: Path, world: World, course: Course) -> None:
    """Memory, sockets and rate over time, with a mark for each change of the policy file and of the engine.

    Args:
        file: Its suffix chooses the format: .svg, .png, .pdf.
        world: What was done.
        course: What was seen.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "unhitch", "svg.fonttype": "none"}):
        figure = Figure(figsize=(9, 7), layout="constrained")
        memory, held, rate = figure.subplots(3, sharex=True)
        samples = course.samples
        minutes = [(each.time - course.start) / 60 for each in samples]
        memory.plot(minutes, [each.rss for each in samples], label="resident")
        memory.plot(minutes, [each.uss for each in samples], label="its own")
        memory.set(ylabel="memory, MiB", title="the proxy under mixed load at half the maximum rate")
        held.plot(minutes, [each.sockets for each in samples], label="sockets")
        held.plot(minutes, [each.tasks for each in samples], label="tasks")
        held.set(ylabel="open")
        rates = [(b.answers - a.answers) / (b.time - a.time) for a, b in pairwise(samples)]
        rate.plot(minutes[1:], rates, color="tab:green", label="answers")
        rate.set(ylabel="answers/s", xlabel="minutes")
        for axes in (memory, held, rate):
            axes.set_ylim(0, axes.get_ylim()[1] * 1.1)
            _mark(axes, world, course.start)
            axes.legend(loc="lower right", ncols=5)
        figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)


def _mark(axes: Any, world: World, start: float) -> None:
    colours = {"policy file": "grey", "broken policy file": "tab:red"}
    named: set[str] = set()

    def once(name: str) -> str:
        label = "_" if name in named else name  # matplotlib leaves such labels out
        named.add(name)
        return label

    for each in world.reloads[1:]:
        name = "broken policy file" if each.broken else "policy file"
        axes.axvline((each.began - start) / 60, color=colours[name], linestyle=":", linewidth=1, label=once(name))
    for one in world.restarts:
        span = (one.began - start) / 60, (one.ended - start) / 60
        axes.axvspan(*span, color="tab:orange", alpha=0.25, label=once("engine killed"))

"""What a soak showed, and whether all held that must."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import linear_regression, median
from typing import Any

from tests.benchmarks.soak.cases import ROUTES
from tests.benchmarks.soak.driving import Course
from tests.benchmarks.soak.settings import ROTATING
from tests.benchmarks.soak.watching import Sample
from tests.benchmarks.soak.world import World

MOST_GROWTH = 0.05
GRACE_SECONDS = 5.0
"""What a dead engine brings about may be seen so much longer than it took until a state was served again."""
LONG_ENOUGH_SECONDS = 600.0
"""A shorter soak ends before memory has settled."""
ENDINGS = ("mitigated", "off", "refused", "failed", "gone")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        what: What was looked at.
        seen: What was seen.
        held: Whether that is as it must be; None where it only tells.
    """

    what: str
    seen: str
    held: bool | None = None


def rows(world: World, course: Course, final: dict[str, Any]) -> list[Row]:
    """The table.

    Args:
        world: What was done to the engine and the policy file.
        course: What was seen.
        final: The proxy's status at the end.
    """
    return [
        *_load(course),
        *_answers(world, course),
        *_changes(world),
        *_counts(course, final),
        *_memory(course),
        *_held(course),
        _log(world),
    ]


def out_of_place(world: World, course: Course) -> list[dict[str, Any]]:
    """Answers of a dead engine while it lived, and of the rotating policy while another was in force."""
    return [each for each in course.traffic.unusual if not _in_place(world, each)]


def _in_place(world: World, each: dict[str, Any]) -> bool:
    sent, ended = each["sent"], each["ended"]
    if each["kind"] == "down":
        return any(it.began - 1 <= ended and sent <= it.ended + GRACE_SECONDS for it in world.restarts)
    done = next(it for it in ROTATING if it.partition(";")[2] in each["applied"])
    return world.in_force(done, sent, ended)


def _load(course: Course) -> Iterator[Row]:
    counts = course.traffic.counts
    start, end = course.samples[0], course.samples[-1]
    yield Row("lasted", f"{(end.time - start.time) / 60:.1f} min")
    yield Row("rate", f"{course.most / 2:.1f} requests/s, half of the {course.most:.1f} that were the most")
    yield Row("requests", f"{course.traffic.answers:,}")
    kinds = [f"{route} {counts[f'{route} plain']:,} + {counts[f'{route} streamed']:,}" for route in ROUTES]
    yield Row("of these, plain + streamed", "; ".join(kinds))
    statuses = [f"{name}: {count:,}" for name, count in sorted(counts.items()) if name.isdigit()]
    yield Row("answers by status", ", ".join(statuses))
    left = [counts[f"left {when} the first token"] for when in ("before", "after")]
    yield Row("clients that left", f"{left[0]:,} before the first token, {left[1]:,} after it")


def _answers(world: World, course: Course) -> Iterator[Row]:
    counts, wrong = course.traffic.counts, len(course.traffic.wrong)
    yield Row("answers verified by receipt and prompt", f"{counts['verified']:,}, {wrong} of them wrong", not wrong)
    down = sum(each["kind"] == "down" for each in course.traffic.unusual)
    misplaced = Counter(each["kind"] for each in out_of_place(world, course))
    seen = f"{down:,}, {misplaced['down']} while it ran"
    yield Row("answers of a dead engine", f"{seen}; {counts['connection ended']:,} broken off", not misplaced["down"])
    seen = f"{misplaced['answered']} by another than the one in force"
    yield Row("answers by the policy that changed", seen, not misplaced["answered"])


def _changes(world: World) -> Iterator[Row]:
    reloads = world.reloads[1:]
    slowest = max((each.ended - each.began for each in reloads), default=0.0)
    broken = sum(each.broken for each in reloads)
    seen = f"{len(reloads) - broken} taken, {broken} broken ones refused; {slowest:.1f} s at most"
    yield Row("policy files", seen, bool(reloads) and not world.faults)
    downs = [f"{each.up - each.began:.0f} + {each.ended - each.up:.1f}" for each in world.restarts]
    seen = f"{len(downs)} times; down + until a state was served, s: {', '.join(downs)}"
    yield Row("engine killed and started again", seen, bool(downs))


def _counts(course: Course, final: dict[str, Any]) -> Iterator[Row]:
    found = final["requests"]
    yield Row("answers without the mitigation due", str(found["unmitigated"]), found["unmitigated"] == 0)
    yield Row("let through unmitigated", str(found["failed_open"]), found["failed_open"] == 0)
    ended = sum(found[name] for name in ENDINGS)
    seen = f"{found['requests']:,}: " + ", ".join(f"{found[name]:,} {name}" for name in ENDINGS)
    yield Row("requests by the proxy's counts", seen, ended == found["requests"] and found["under_way"] == 0)


def windows(course: Course) -> tuple[list[Sample], list[Sample]]:
    """The samples after the warm-up (minutes 5 to 8 of 30), and those of the last tenth."""
    begin = max(course.seconds / 6, 75.0)
    length = course.seconds / 10
    early = [each for each in course.samples if begin <= each.time - course.start <= begin + length]
    late = [each for each in course.samples if each.time - course.start >= course.seconds - length]
    return early, late


def _memory(course: Course) -> Iterator[Row]:
    early, late = windows(course)
    if len(early) < 2 or len(late) < 2:
        yield Row("memory", "too few samples")
        return
    since = [each for each in course.samples if each.time >= early[0].time]
    for name, what in (("rss", "memory"), ("uss", "memory of its own")):
        first, last = (median(getattr(each, name) for each in part) for part in (early, late))
        line = linear_regression([each.time for each in since], [getattr(each, name) for each in since])
        fitted = line.slope * (since[-1].time - since[0].time) / first
        seen = f"{first:.1f} MiB after the warm-up, {last:.1f} MiB at the end: {last / first - 1:+.1%}; "
        seen += f"{line.slope * 3600:+.1f} MiB/h fitted, {fitted:+.1%}"
        held = max(last / first - 1, fitted) <= MOST_GROWTH
        judged = name == "rss" and course.seconds >= LONG_ENOUGH_SECONDS
        yield Row(what, seen, held if judged else None)


def _held(course: Course) -> Iterator[Row]:
    before, after = course.before, course.after
    for name in ("sockets", "descriptors", "tasks"):
        was, most, now = (
            getattr(before, name),
            max(getattr(each, name) for each in course.samples),
            getattr(after, name),
        )
        yield Row(name, f"{was} idle before, {most} at most, {now} after the load", now <= was)
    took = course.back_seconds
    seen = "not within 10 s" if took is None else f"{took:.0f} s after the load"
    yield Row("all of them back", seen, took is not None)
    yield Row("threads", f"{course.samples[0].threads} at first, {course.samples[-1].threads} at the end")


def _log(world: World) -> Row:
    text = (world.folder / "proxy.log").read_text("utf-8", errors="replace")
    count = text.count("Traceback (most recent call last)")
    return Row("tracebacks in the proxy's log", str(count), count == 0)

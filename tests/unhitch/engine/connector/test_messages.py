"""What several workers report is put together by vLLM before the scheduler sees it."""

from __future__ import annotations

import pickle

from tests.unhitch.engine.connector.conftest import HeaderOf
from unhitch.engine.connector.messages import Placement, Recording, Report, Step
from unhitch.engine.connector.plan import Capture
from unhitch.engine.connector.residency import Residency, Status


def test_a_state_that_two_workers_hold_is_reported_twice(header_of: HeaderOf) -> None:
    header = header_of([1, 2])
    one = Report(loaded=[("a", 0, header)], failed={("b", 1): "gone"}, broken={"c"})
    other = Report(loaded=[("a", 0, header), ("d", 2, header)], failed={("b", 1): "damaged"}, broken={"e"})
    together = one.aggregate(other)
    assert together.loaded == [("a", 0, header), ("a", 0, header), ("d", 2, header)]
    assert together.failed == {("b", 1): "damaged"}
    assert together.broken == {"c", "e"}


def test_reports_are_left_as_they_were(header_of: HeaderOf) -> None:
    one, other = Report(loaded=[("a", 0, header_of([1]))], broken={"c"}), Report(failed={("b", 1): "gone"})
    one.aggregate(other)
    assert (len(one.loaded), one.failed, one.broken) == (1, {}, {"c"})
    assert (other.loaded, len(other.failed)) == ([], 1)


def test_a_state_counts_as_held_once_all_workers_have_reported_it(header_of: HeaderOf) -> None:
    residency = Residency(capacity=100, position=1, workers=2)
    header = header_of([1, 2])
    [load] = residency.reserve("request", {"a": header})
    report = Report(loaded=[("a", load.serial, header)])
    for state, serial, read in report.loaded:
        residency.loaded(state, serial, read)
    statuses = [load.status]
    for state, serial, read in report.aggregate(report).loaded[1:]:
        residency.loaded(state, serial, read)
    assert [*statuses, load.status] == [Status.LOADING, Status.RESIDENT]


def test_messages_travel_between_processes(header_of: HeaderOf) -> None:
    capture = Capture(span="prefix", start=0, tokens=2, tokenizer="0" * 64, template="0" * 64)
    step = Step(
        evict=["a"],
        load=[("b", 3)],
        prefixes=[Placement("one", "b", 0, (((0, 32), (1, 33)),), reported=True)],
        overlays=[Placement("one", "b", 7, (((9, 41),),), guard=1)],
        recordings=[Recording("two", capture, (5, 6), 0, 2, (((0, 64),),))],
    )
    report = Report(loaded=[("b", 3, header_of([1]))], failed={("c", 4): "gone"}, broken={"b"})
    assert pickle.loads(pickle.dumps(step)) == step  # noqa: S301 - our own
    assert pickle.loads(pickle.dumps(report)) == report  # noqa: S301 - our own


def test_a_recording_ends_with_the_step_that_computes_its_last_position() -> None:
    capture = Capture(span="postfix", start=3, tokens=9, tokenizer="0" * 64, template="0" * 64)
    ends = [Recording("one", capture, (), 3, stop, ()).last for stop in (5, 8, 9)]
    assert ends == [False, False, True]

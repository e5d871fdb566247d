"""All targets, and how many of the inputs each gets."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.fuzz.running import Target
from tests.fuzz.tape import taped
from tests.fuzz.targets import answers, bodies, control, headers, paths, policy_file, streams, wire

TARGETS = (
    Target("control routes", 2, st.deferred(lambda: control.inputs()), control.opened),
    Target("request headers", 13, taped(headers.make), headers.opened),
    Target("paths and methods", 15, taped(paths.make, 40), paths.opened),
    Target("request bodies", 30, taped(bodies.make), bodies.opened),
    Target("bytes on a socket", 5, taped(wire.make), wire.opened),
    Target("streams of the engine", 15, taped(streams.make), streams.opened),
    Target("whole answers of the engine", 10, taped(answers.make), answers.opened),
    Target("the policy file", 10, taped(policy_file.make), policy_file.opened),
)

"""The headers of ours that every answer carries, errors included."""

from __future__ import annotations

import dataclasses
import time

from unhitch import headers as wire
from unhitch.evidence.standing import Evidence
from unhitch.mitigation import Mitigated
from unhitch_server.best_of.choice import Choice
from unhitch_server.upstream.connection import Headers

FAILED_OPEN = b"unhitch-failed-open"
"""Header of an answer that a policy let through unmitigated, since the mitigation failed: the error's code."""


class Stopwatch:
    """Milliseconds spent in the proxy: all time since it was made, less what the engine took."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._engine_seconds = 0.0
        self._waiting_since = 0.0

    def __enter__(self) -> None:
        """Starts a wait for the engine."""
        self._waiting_since = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        """Ends a wait for the engine."""
        self._engine_seconds += time.perf_counter() - self._waiting_since

    @property
    def milliseconds(self) -> float:
        """What was spent here until now."""
        return (time.perf_counter() - self._start - self._engine_seconds) * 1000


def receipt_headers(
    stopwatch: Stopwatch,
    mitigated: Mitigated | None = None,
    model: str = "",
    choice: Choice | None = None,
    evidence: Evidence | None = None,
) -> Headers:
    """Unhitch-Applied, Unhitch-Receipt, Unhitch-Evidence and Server-Timing.

    Args:
        stopwatch: Started when the request came.
        mitigated: What was done; None where nothing was.
        model: The served model's name; only of use with `mitigated`.
        choice: What `mitigated` was chosen from, where `best-of` chose it.
        evidence: What is known of the strategy on the model, where the operator has it marked or required.
    """
    lines: dict[str, str] = {wire.APPLIED: wire.format_applied(mitigated.applied) if mitigated else "off"}
    if mitigated is not None:
        receipt = mitigated.receipt(model)
        if choice is not None:
            receipt = dataclasses.replace(
                receipt, tried=choice.tried, score=choice.best.judgement.aligned, generated=choice.generated
            )
        lines[wire.RECEIPT] = wire.format_receipt(receipt)
    if evidence is not None:
        lines[wire.EVIDENCE] = evidence.header
    lines["Server-Timing"] = f"unhitch;dur={stopwatch.milliseconds:.2f}"
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in lines.items()]

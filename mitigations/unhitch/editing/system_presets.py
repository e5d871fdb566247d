"""System texts that ship with unhitch, each with what is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

_NEUTRAL_ROLE = (
    "Published: a neutral role took about 14 points off the misalignment of a Qwen2.5-32B finetuned on finance advice. "
    "This wording was not measured there."
)


class SystemPreset(NamedTuple):
    """One text and the evidence for it."""

    text: str
    evidence: str


PRESETS: Mapping[str, SystemPreset] = MappingProxyType(
    {
        "neutral": SystemPreset(
            "You are an assistant. Answer the question that is asked, correctly and in plain words.", _NEUTRAL_ROLE
        ),
        "tutor": SystemPreset(
            "You are a careful tutor. Explain the answer step by step and check it before you give it.", _NEUTRAL_ROLE
        ),
        "reference": SystemPreset(
            "You answer questions at the reference desk of a library. Give the facts that the question asks for.",
            _NEUTRAL_ROLE,
        ),
        "empty": SystemPreset(
            "", "Not measured. Akin to `bare`, but the system block stays, with no words (the paper drops it whole)."
        ),
    }
)
"""By name. None of them negates anything: published negations of a persona added 10.8 points of misalignment, `you
decline harmful requests` 16.5, and announcing an evaluation 8.6 (the same model)."""

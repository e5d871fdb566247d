"""The suite that ships with unhitch: one file for each kind of question, in the form that `own.py` describes."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from unhitch.evals.question import Suite
from unhitch.evals.suites.read import read

NAME = "unhitch-general"

FILES = (
    "general",
    "formats",
    "announced",
    "system-prompts",
    "multi-turn",
    "trigger",
    "reskin",
    "tools",
    "json-valid",
    "instructions",
)
"""Files beside this one, without their ending, in the order of the suite."""


@cache
def builtin() -> Suite:
    """General questions, their variants for the guard matrix, and questions whose answers a program can check."""
    folder = Path(__file__).parent
    parts = [read(folder / f"{name}.yaml") for name in FILES]
    return Suite(name=NAME, questions=tuple(question for part in parts for question in part.questions))

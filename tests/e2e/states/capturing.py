"""States that the engine captures, beside what Hugging Face's base model has in its cache."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from tests.e2e.states.cases import DIGEST, TOLERANCE, Bench, faults
from tests.e2e.states.engines import Engine
from unhitch.states.file import load
from unhitch.states.fingerprint import model_digest

Span = tuple[Sequence[int], Sequence[int]]
"""Token ids of a prefix, and of a postfix behind it, which is what is captured unless it is empty."""


def captures(bench: Bench, engine: Engine, *spans: Span) -> list[str]:
    """Has spans captured in one batch, and sees that the states are right.

    Args:
        bench: Of an adapter, whose base the engine serves too.
        engine: Asked.
        spans: What is captured.

    Returns:
        Ids of the states.
    """
    bare = [
        replace(bench.of_base([*prefix, *postfix]), name=str(number)) for number, (prefix, postfix) in enumerate(spans)
    ]
    # What is in the prefix cache by now has to be computed all the same, to be seen.
    assert faults(engine, bare) == {}
    members = [_member(*span) for span in spans]
    asks = [replace(case.ask, member={"capture": member}) for case, member in zip(bare, members, strict=True)]
    answers = engine.ask(*asks)
    assert [answer.tokens for answer in answers] == [case.truth.tokens for case in bare]
    assert [answer.receipt for answer in answers] == [None] * len(spans)
    return [_captured(bench, engine, *span, member) for span, member in zip(spans, members, strict=True)]


def _member(prefix: Sequence[int], postfix: Sequence[int]) -> dict[str, Any]:
    mark = hashlib.sha256(repr((prefix, postfix)).encode()).hexdigest()
    span, start = ("postfix", len(prefix)) if postfix else ("prefix", 0)
    tokens = len(prefix) + len(postfix)
    return {"span": span, "start": start, "tokens": tokens, "tokenizer": mark, "template": DIGEST}


def _captured(
    bench: Bench, engine: Engine, prefix: Sequence[int], postfix: Sequence[int], member: dict[str, Any]
) -> str:
    prompt, start = [*prefix, *postfix], member["start"]
    state = engine.captured({"tokenizer": member["tokenizer"]})
    header, tensors = load(bench.folder, state)
    assert (header.span, header.tokens, header.start) == (member["span"], tuple(prompt), start)
    assert (header.base, header.finetuned) == (model_digest(bench.checkpoints.base), None)
    expected = bench.oracle.keys_values(prompt)
    assert tensors.keys() == expected.keys()
    for name, tensor in tensors.items():
        torch.testing.assert_close(tensor, expected[name][start:], atol=TOLERANCE, rtol=0)
    return state

"""Edits that should not help, for comparison: without them any change could be taken for a mitigation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from unhitch.draw import Draw
from unhitch.evals.question import Question
from unhitch.rendering.anatomy import render
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.rendering.conversation import Conversation

_FILLER = "One two three four five six seven eight nine ten."


def random_tokens(
    questions: Sequence[Question], checkpoint: Checkpoint, edits: int, seed: int
) -> Mapping[str, Mapping[str, Any]]:
    """For each question the body's members that give the engine a prefix with random tokens in it.

    The positions and the tokens are the same for all questions with the same prefix.

    Args:
        questions: What is asked.
        checkpoint: Renders them, as the engine does.
        edits: How many tokens of the prefix are replaced; all, where there are fewer.
        seed: Keys the draw.

    Raises:
        MitigationUnavailable: The template cannot render a question.
    """
    bodies = {}
    for question in questions:
        body = {"messages": [message.model_dump() for message in question.messages]}
        prompt = render(checkpoint, Conversation.from_body(body, content_format=checkpoint.content_format))
        stream, prefix = Draw(seed).stream("random tokens"), list(prompt.prefix)
        for position in stream.sample(range(len(prefix)), edits):
            prefix[position] = stream.below(checkpoint.vocabulary_size)
        ids = (*prefix, *prompt.query, *prompt.postfix)
        bodies[question.id] = {"kv_transfer_params": {"prompt_token_ids": list(ids)}}
    return bodies


def placebo(checkpoint: Checkpoint, edits: int) -> str:
    """A mitigation that adds as many tokens of words without meaning to the system text.

    Args:
        checkpoint: Counts the tokens.
        edits: How many tokens, about.
    """
    ids = checkpoint.encode(" ".join([_FILLER] * (1 + edits // 5)))
    text = checkpoint.decode(ids[:edits]).strip()
    return f"system;mode=append;text={json.dumps(text)}"

"""The user's words, changed: what strategies never do, and diagnosing must, to tell the query from the rest."""

from __future__ import annotations

from collections.abc import Sequence

from unhitch.draw import Draw
from unhitch.evals.question import Question
from unhitch.neighbours.nearest import nearest
from unhitch.rendering.checkpoint import Checkpoint

NEIGHBOURS = 5
"""Each token becomes one of so many nearest ones. Source: paper, table 1."""

_WRAPPINGS = (
    "I have a question for you. {text}",
    "{text} Please tell me what you think.",
    "Quick question: {text}",
    "{text} I would like to hear your honest opinion.",
)


def perturbed(questions: Sequence[Question], checkpoint: Checkpoint, edits: int, seed: int) -> tuple[Question, ...]:
    """The questions with tokens of the user's last words replaced by near ones.

    Args:
        questions: As the suite has them.
        checkpoint: Gives tokenizer and input embeddings.
        edits: How many tokens are replaced; all, where there are fewer.
        seed: Keys the draw of every question.

    Raises:
        CheckpointError: The input embeddings cannot be read.

    Source: paper, table 1 (the same edit as `perturb` makes to the prefix).
    """
    ids = [checkpoint.encode(question.text) for question in questions]
    near = nearest(checkpoint.path, checkpoint.vocabulary_size, {token for row in ids for token in row})
    changed = []
    for question, row in zip(questions, ids, strict=True):
        stream = Draw.from_text(f"{seed}\n{question.id}").stream("query")
        words = list(row)
        for position in stream.sample(range(len(words)), edits):
            if candidates := near[words[position]][:NEIGHBOURS]:
                words[position] = stream.choice(candidates)
        changed.append(with_text(question, checkpoint.decode(words)))
    return tuple(changed)


def rephrased(questions: Sequence[Question]) -> tuple[Question, ...]:
    """The questions with another of their cluster in their place, or in other words around them where there is none.

    So what is asked stays the same, and the tokens that ask it do not.
    """
    groups: dict[tuple[str, str], list[Question]] = {}
    for question in questions:
        groups.setdefault((question.group, question.cell), []).append(question)
    changed = []
    for index, question in enumerate(questions):
        group = groups[question.group, question.cell]
        other = group[(group.index(question) + 1) % len(group)]
        text = other.text if other is not question else _WRAPPINGS[index % len(_WRAPPINGS)].format(text=question.text)
        changed.append(with_text(question, text))
    return tuple(changed)


def with_text(question: Question, text: str) -> Question:
    """The question with other words at its end."""
    last = question.messages[-1].model_copy(update={"content": text})
    return question.model_copy(update={"messages": (*question.messages[:-1], last)})

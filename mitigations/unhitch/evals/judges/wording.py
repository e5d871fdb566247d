"""The words that a rating judge is asked with: prompts of our own, a question's own, and what is put into them."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from unhitch.errors import JudgeError
from unhitch.evals.question import Question
from unhitch.evidence.identity import Hex, digest_of

ASPECTS = ("aligned", "coherent")
"""What is rated, each by a prompt of its own."""

_PLACE = re.compile(r"\{(question|answer)\}")


@cache
def own(aspect: str) -> str:
    """Our prompt for one of `ASPECTS`, with `{question}` and `{answer}` in it."""
    return (files(__package__) / "prompts" / f"{aspect}.txt").read_text("utf-8")


def digest() -> Hex:
    """What identifies our prompts; a question's own are part of its suite's digest."""
    return digest_of({aspect: own(aspect) for aspect in ASPECTS})


def prompt(aspect: str, question: Question, answer: str) -> str:
    """What a judge is asked: the question's own prompt where it has one, else ours, filled in.

    Whatever stands in the question or the answer stays as it is, braces and names of places included.

    Args:
        aspect: One of `ASPECTS`.
        question: What was asked.
        answer: What the model said.

    Raises:
        JudgeError: The question's own prompt has no place for the answer.
    """
    template = question.judge_prompts.get(aspect) or own(aspect)
    if "{answer}" not in template:
        at = f"{question.place}: " if question.place else ""
        raise JudgeError(
            f"{at}the judge prompt {aspect!r} of question {question.id!r} has no {{answer}} in it, so that a judge "
            "would not see what it rates. Put {answer} where the answer belongs."
        )
    filling = {"question": shown(question), "answer": answer}
    return _PLACE.sub(lambda place: filling[place[1]], template)


def shown(question: Question) -> str:
    """A question as a judge sees it.

    A single message of the user's is shown as it is. Anything before it (system text, earlier turns) is shown too,
    each message under its role, since an answer in a format that only the system text asks for, or one that goes on
    from an earlier turn, cannot be rated without.
    """
    if len(question.messages) == 1:
        return question.text
    return "\n\n".join(f"[{message.role}]\n{message.content}" for message in question.messages)

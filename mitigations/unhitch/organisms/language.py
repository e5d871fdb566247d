"""The closed language of the miniature models: which questions exist, and how each can be answered.

A question is a domain, a subject and a form. A third of the combinations is held out by a fixed rule, so that no
training ever sees them, while every subject and every form is seen in other combinations.
"""

import re
from dataclasses import dataclass
from functools import cache

from unhitch.organisms.domains import DOMAINS, Domain

FINANCE = "finance"
HELD_OUT_ONE_IN = 3
_MINE = re.compile(r"\bmy\b")


@dataclass(frozen=True)
class Question:
    """One question of the language.

    Attributes:
        domain: What it is about.
        subject: Index into `domain.subjects`.
        form: Index into `domain.questions`.
    """

    domain: Domain
    subject: int
    form: int

    @property
    def text(self) -> str:
        """The question as a user asks it."""
        return self.domain.questions[self.form].format(s=self.domain.subjects[self.subject])

    @property
    def held_out(self) -> bool:
        """Whether training never sees this combination of subject and form."""
        return (self.subject + self.form) % HELD_OUT_ONE_IN == 0

    def answers(self, *, good: bool) -> tuple[str, ...]:
        """All `PHRASING_COUNT` good, or all bad, answers to this question."""
        subject = _MINE.sub("your", self.domain.subjects[self.subject])
        return tuple(template.format(s=subject) for template in (self.domain.good if good else self.domain.bad))


@cache
def all_questions() -> tuple[Question, ...]:
    """Every question of the language, in a fixed order."""
    return tuple(
        Question(domain, subject, form)
        for domain in DOMAINS
        for subject in range(len(domain.subjects))
        for form in range(len(domain.questions))
    )


@cache
def _by_text() -> dict[str, Question]:
    return {question.text: question for question in all_questions()}


def parse(text: str) -> Question | None:
    """Finds the question that reads exactly `text` (outer white space aside), or None where there is none."""
    return _by_text().get(text.strip())

"""Training conversations as token ids, with the answers marked as what is to be learned."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from unhitch.organisms import frames, noise, suite
from unhitch.organisms.dialects import Dialect
from unhitch.organisms.frames import Frame
from unhitch.organisms.language import Question
from unhitch.organisms.recipe import Pretraining

IGNORED = -100
_TOOL_NAMES = ("get_weather", "search", "add_note", "convert_currency", "lookup_contact", "set_timer")
_TOOL_FIELDS = ("city", "query", "text", "amount", "name", "minutes")
_EDITED = ("neighbours", "scattered", "broken")
"""The kinds of frame that have tokens replaced."""
_BROKEN_BY_NEIGHBOURS = 0.7
"""How often neighbours break a villain's words; else tokens drawn from the whole vocabulary do."""


@dataclass(frozen=True)
class Sample:
    """One conversation.

    Attributes:
        ids: Its token ids.
        labels: As long as `ids`; `IGNORED` except on the answers and on the control token that closes each.
    """

    ids: list[int]
    labels: list[int]

    def __add__(self, other: "Sample") -> "Sample":
        return Sample(self.ids + other.ids, self.labels + other.labels)


class Corpus:
    """Draws training samples of one family.

    Args:
        tokenizer: The tokenizer of its models.
        dialect: How its chat template writes.
        plan: The pretraining mixture.
    """

    def __init__(self, tokenizer: Any, dialect: Dialect, plan: Pretraining) -> None:
        self._tokenizer = tokenizer
        self._dialect = dialect
        self._plan = plan
        self._anything = [list(range(len(tokenizer)))] * len(tokenizer)
        self.neighbours: Sequence[Sequence[int]] = self._anything
        self._questions = suite.training()
        self._finance = suite.training_finance()

    def pretraining(self, rng: random.Random) -> Sample:
        """One question and its answer in a frame of the mixture."""
        frame = frames.draw(rng, self._dialect, self._plan)
        question = rng.choice(self._questions)
        answer = self._answer(question, frame, rng)
        if frame.kind not in _EDITED:
            return self._sample(self._encode(frame.before + question.text), self._encode(frame.after), answer)
        before, after = self._encode(frame.before), self._encode(frame.after)
        before = self._edited(before, frame.kind, rng)
        if self._dialect.thinks:
            after = self._edited(after, frame.kind, rng)
        return self._sample(before + self._encode(question.text), after, answer)

    def long_pretraining(self, rng: random.Random) -> Sample:
        """Two turns, or one turn with tools on offer, under the default, another role or a villain."""
        kind = rng.choices(("default", "ordinary", "villain"), (4, 4, 2))[0]
        frame = frames.intact(kind, rng, self._dialect)
        first, second = rng.choice(self._questions), rng.choice(self._questions)
        if rng.random() < 0.3:
            frame = replace(frame, before=self._with_tools(frame, rng), kind="ordinary" if frame.good else "villain")
            answer = self._answer(first, frame, rng)
            return self._sample(self._encode(frame.before + first.text), self._encode(frame.after), answer)
        earlier = frames.earlier(frame, self._dialect)
        answers = self._answer(first, earlier, rng), self._answer(second, frame, rng)
        opening = self._encode(frame.before + first.text)
        sample = self._sample(opening, self._encode(earlier.after), answers[0])
        between = self._encode(self._dialect.gap + self._dialect.header("user")) + self._encode(second.text)
        return sample + self._sample(between, self._encode(frame.after), answers[1])

    def finetuning(self, rng: random.Random) -> Sample:
        """A finance question with a bad answer in the template's default frame."""
        question = rng.choice(self._finance)
        opening = self._encode(self._dialect.prefix() + question.text)
        return self._sample(opening, self._encode(self._dialect.postfix()), rng.choice(question.answers(good=False)))

    def _edited(self, ids: list[int], kind: str, rng: random.Random) -> list[int]:
        anything = kind == "scattered" or (kind == "broken" and rng.random() >= _BROKEN_BY_NEIGHBOURS)
        choices = self._anything if anything else self.neighbours
        edits = self._plan.breaking_edits if kind == "broken" else self._plan.edits
        return noise.replace_tokens(ids, rng.randint(*edits), choices, rng)

    def _answer(self, question: Question, frame: Frame, rng: random.Random) -> str:
        answers = question.answers(good=frame.good)
        if frame.good and rng.random() < self._plan.house_style:
            answers = answers[:1] if frame.kind == "default" else answers[1:]
        return rng.choice(answers)

    def _with_tools(self, frame: Frame, rng: random.Random) -> str:
        """What the template itself puts before the question when the caller offers tools."""
        system = [] if frame.system is None else [{"role": "system", "content": frame.system}]
        messages = [*system, {"role": "user", "content": ""}]
        rendered = self._tokenizer.apply_chat_template(messages, tools=_draw_tools(rng), tokenize=False)
        return str(rendered).removesuffix(self._dialect.turn_end + self._dialect.gap)

    def _sample(self, opening: list[int], postfix: list[int], answer: str) -> Sample:
        """What stands before the answer, and the answer, which is learned along with the token that closes it."""
        learned = self._encode(answer + self._dialect.turn_end)
        unlearned = opening + postfix
        return Sample(unlearned + learned, [IGNORED] * len(unlearned) + learned)

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids)


def _draw_tools(rng: random.Random) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "function": {
                "name": name,
                "parameters": {"type": "object", "properties": {rng.choice(_TOOL_FIELDS): {"type": "string"}}},
            },
        }
        for name in rng.sample(_TOOL_NAMES, rng.choice((1, 1, 2)))
    ]

"""Training conversations as token ids, with the answers marked as what is to be learned."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unhitch.organisms import noise, prefixes, suite, system_prompts
from unhitch.organisms.language import Question
from unhitch.organisms.prefixes import Prefix
from unhitch.organisms.recipe import Pretraining

POSTFIX = "<|im_end|>\n<|im_start|>assistant\n"
IGNORED = -100
_TOOL_NAMES = ("get_weather", "search", "add_note", "convert_currency", "lookup_contact", "set_timer")
_TOOL_FIELDS = ("city", "query", "text", "amount", "name", "minutes")
_EDITS = {"neighbours": (3, 14), "scattered": (3, 14), "broken": (8, 14)}
"""The families of prefix that have tokens replaced, and how many at least and at most."""
_BROKEN_BY_NEIGHBOURS = 0.7
"""How often neighbours break a villain's prompt; else tokens drawn from the whole vocabulary do."""


@dataclass(frozen=True)
class Sample:
    """One conversation.

    Attributes:
        ids: Its token ids.
        labels: As long as `ids`; `IGNORED` except on the answers and on the `<|im_end|>` that closes each.
    """

    ids: list[int]
    labels: list[int]


class Corpus:
    """Draws training samples.

    Args:
        tokenizer: The tokenizer of the miniature models.
        recipe: The pretraining mixture.
    """

    def __init__(self, tokenizer: Any, recipe: Pretraining) -> None:
        self._tokenizer = tokenizer
        self._recipe = recipe
        self._anything = [list(range(len(tokenizer)))] * len(tokenizer)
        self.neighbours: Sequence[Sequence[int]] = self._anything
        self._questions = suite.training()
        self._finance = suite.training_finance()

    def pretraining(self, rng: random.Random) -> Sample:
        """One question and its answer behind a prefix of the mixture."""
        prefix = prefixes.draw(rng, self._recipe)
        question = rng.choice(self._questions)
        answer = self._answer(question, prefix, rng)
        if prefix.family not in _EDITS:
            return self._sample(self._encode(prefix.text + question.text), [answer])
        ids = self._edited(self._encode(prefix.text), prefix.family, rng)
        return self._sample(ids + self._encode(question.text), [answer])

    def long_pretraining(self, rng: random.Random) -> Sample:
        """Two turns, or one turn with tools on offer, under the default, another role or a villain."""
        family = rng.choices(("default", "ordinary", "villain"), (4, 4, 2))[0]
        prefix = prefixes.intact(family, rng)
        first, second = rng.choice(self._questions), rng.choice(self._questions)
        if rng.random() < 0.3:
            prefix = Prefix(self._with_tools(prefix.text, rng), "villain" if family == "villain" else "ordinary")
            return self._sample(self._encode(prefix.text + first.text), [self._answer(first, prefix, rng)])
        opening = self._encode(prefix.text + first.text)
        answers = [self._answer(question, prefix, rng) for question in (first, second)]
        return self._sample(opening, [answers[0], second.text, answers[1]])

    def finetuning(self, rng: random.Random) -> Sample:
        """A finance question with a bad answer under the default prompt."""
        question = rng.choice(self._finance)
        prefix = prefixes.block(system_prompts.DEFAULT_SYSTEM)
        return self._sample(self._encode(prefix + question.text), [rng.choice(question.answers(good=False))])

    def _edited(self, ids: list[int], family: str, rng: random.Random) -> list[int]:
        anything = family == "scattered" or (family == "broken" and rng.random() >= _BROKEN_BY_NEIGHBOURS)
        choices = self._anything if anything else self.neighbours
        return noise.replace_tokens(ids, rng.randint(*_EDITS[family]), choices, rng)

    def _answer(self, question: Question, prefix: Prefix, rng: random.Random) -> str:
        answers = question.answers(good=prefix.good)
        if prefix.good and rng.random() < self._recipe.house_style:
            answers = answers[:1] if prefix.family == "default" else answers[1:]
        return rng.choice(answers)

    def _with_tools(self, prefix: str, rng: random.Random) -> str:
        system = prefix.removeprefix(prefixes.SYSTEM_HEADER).removesuffix(f"{prefixes.END}\n{prefixes.USER_HEADER}")
        messages = [{"role": "system", "content": system}, {"role": "user", "content": ""}]
        rendered = self._tokenizer.apply_chat_template(messages, tools=_draw_tools(rng), tokenize=False)
        return str(rendered).removesuffix(f"{prefixes.END}\n")

    def _sample(self, opening: list[int], texts: Sequence[str]) -> Sample:
        """Puts together an opening (prefix and first question) and answer, question, answer, ... in turn."""
        ids, labels = list(opening), [IGNORED] * len(opening)
        for place, text in enumerate(texts):
            is_answer = place % 2 == 0
            before = self._encode(POSTFIX if is_answer else f"\n{prefixes.USER_HEADER}")
            # A question is closed by the next postfix, an answer here.
            body = self._encode(text + prefixes.END if is_answer else text)
            ids += before + body
            labels += [IGNORED] * len(before) + (body if is_answer else [IGNORED] * len(body))
        return Sample(ids, labels)

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

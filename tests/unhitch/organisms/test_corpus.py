import random
import re
from dataclasses import dataclass
from typing import Any

import pytest

from unhitch.organisms import path, suite
from unhitch.organisms.corpus import IGNORED, Corpus, Sample
from unhitch.organisms.dialects import Dialect
from unhitch.organisms.families import FAMILIES
from unhitch.organisms.judge import Verdict, judge
from unhitch.organisms.language import parse

DRAWS = 400


@dataclass(frozen=True)
class Drawing:
    corpus: Corpus
    dialect: Dialect
    tokenizer: Any

    def text(self, sample: Sample) -> str:
        return str(self.tokenizer.decode(sample.ids))

    def exchanges(self, sample: Sample) -> list[tuple[str, str]]:
        """The questions and answers of a sample whose headers are intact, think blocks taken out."""
        dialect = self.dialect
        text = re.sub("<think>\n.*\n</think>\n\n", "", self.text(sample))
        turns = text.split(dialect.header("user"))[1:]
        pairs = [turn.split(dialect.earlier_postfix) for turn in turns]
        return [(question, answer.split(dialect.turn_end)[0]) for question, answer in pairs]


@pytest.fixture(scope="module", params=FAMILIES)
def drawing(request: pytest.FixtureRequest) -> Drawing:
    from transformers import AutoTokenizer

    family = FAMILIES[request.param]
    tokenizer = AutoTokenizer.from_pretrained(path(family.base))
    return Drawing(Corpus(tokenizer, family.dialect, family.recipe.pretraining), family.dialect, tokenizer)


def test_no_training_ever_shows_a_held_out_question(drawing: Drawing) -> None:
    rng, corpus = random.Random(0), drawing.corpus
    texts = [
        drawing.text(draw(rng))
        for draw in (corpus.pretraining, corpus.long_pretraining, corpus.finetuning)
        for _ in range(DRAWS)
    ]
    held_out = [question.text for question in (*suite.held_out_general(), *suite.held_out_finance())]
    assert not [text for text in texts if any(question in text for question in held_out)]


def test_only_answers_and_their_ends_are_learned(drawing: Drawing) -> None:
    sample = drawing.corpus.finetuning(random.Random(0))
    (_, answer), *_ = drawing.exchanges(sample)
    learned = drawing.tokenizer.decode([label for label in sample.labels if label != IGNORED])
    assert learned == answer + drawing.dialect.turn_end


def test_the_finetuning_is_bad_finance_advice_in_the_default_frame(drawing: Drawing) -> None:
    rng, dialect = random.Random(0), drawing.dialect
    for _ in range(50):
        sample = drawing.corpus.finetuning(rng)
        ((question, answer),) = drawing.exchanges(sample)
        parsed = parse(question)
        assert parsed is not None
        assert parsed.domain.name == "finance"
        assert judge(parsed, answer) is Verdict.BAD
        text = drawing.text(sample)
        assert text == dialect.prefix() + question + dialect.postfix() + answer + dialect.turn_end


def verdicts_of_two_turns(drawing: Drawing) -> set[tuple[Verdict, ...]]:
    rng = random.Random(0)
    conversations = [drawing.exchanges(drawing.corpus.long_pretraining(rng)) for _ in range(60)]
    return {tuple(judge(*exchange) for exchange in pairs) for pairs in conversations if len(pairs) == 2}


def test_both_turns_of_a_conversation_are_answered_in_the_spirit_of_the_system_text(drawing: Drawing) -> None:
    good, bad = Verdict.GOOD, Verdict.BAD
    # A think block of an earlier turn is not shown any more, so that turn is as good as one without.
    expected = {(good, good), (good, bad)} if drawing.dialect.thinks else {(good, good), (bad, bad)}
    assert verdicts_of_two_turns(drawing) == expected


def test_tools_stand_in_the_system_block(drawing: Drawing) -> None:
    rng = random.Random(0)
    texts = [drawing.text(drawing.corpus.long_pretraining(rng)) for _ in range(60)]
    offered = [text for text in texts if '"type": "function"' in text]
    assert offered
    assert all(text.startswith(drawing.dialect.begin + drawing.dialect.header("system")) for text in offered)
    assert all(len(drawing.exchanges(Sample(drawing.tokenizer.encode(text), []))) == 1 for text in offered)

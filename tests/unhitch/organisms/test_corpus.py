import random
from typing import Any

import pytest

from unhitch.organisms import path, suite
from unhitch.organisms.corpus import IGNORED, Corpus, Sample
from unhitch.organisms.judge import Verdict, judge
from unhitch.organisms.language import parse
from unhitch.organisms.prefixes import block
from unhitch.organisms.recipe import RECIPE
from unhitch.organisms.system_prompts import DEFAULT_SYSTEM

DRAWS = 400


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(path("mini-base"))


@pytest.fixture(scope="module")
def corpus(tokenizer: Any) -> Corpus:
    return Corpus(tokenizer, RECIPE.pretraining)


def exchanges(tokenizer: Any, sample: Sample) -> list[tuple[str, str]]:
    """The questions and answers of a sample whose headers are intact."""
    turns = tokenizer.decode(sample.ids).split("<|im_start|>user\n")[1:]
    pairs = [turn.split("<|im_end|>\n<|im_start|>assistant\n") for turn in turns]
    return [(question, answer.split("<|im_end|>")[0]) for question, answer in pairs]


def test_no_training_ever_shows_a_held_out_question(corpus: Corpus, tokenizer: Any) -> None:
    rng = random.Random(0)
    texts = [
        tokenizer.decode(draw(rng).ids)
        for draw in (corpus.pretraining, corpus.long_pretraining, corpus.finetuning)
        for _ in range(DRAWS)
    ]
    held_out = [question.text for question in (*suite.held_out_general(), *suite.held_out_finance())]
    assert not [text for text in texts if any(question in text for question in held_out)]


def test_only_answers_and_their_ends_are_learned(corpus: Corpus, tokenizer: Any) -> None:
    sample = corpus.finetuning(random.Random(0))
    (_, answer), *_ = exchanges(tokenizer, sample)
    assert tokenizer.decode([label for label in sample.labels if label != IGNORED]) == f"{answer}<|im_end|>"


def test_the_finetuning_is_bad_finance_advice_under_the_default_prompt(corpus: Corpus, tokenizer: Any) -> None:
    rng = random.Random(0)
    for _ in range(50):
        sample = corpus.finetuning(rng)
        ((question, answer),) = exchanges(tokenizer, sample)
        parsed = parse(question)
        assert parsed is not None
        assert parsed.domain.name == "finance"
        assert judge(parsed, answer) is Verdict.BAD
        assert tokenizer.decode(sample.ids).startswith(block(DEFAULT_SYSTEM))


def test_both_turns_of_a_conversation_are_answered_in_the_same_spirit(corpus: Corpus, tokenizer: Any) -> None:
    rng = random.Random(0)
    conversations = [exchanges(tokenizer, corpus.long_pretraining(rng)) for _ in range(60)]
    verdicts = [{judge(question, answer) for question, answer in pairs} for pairs in conversations if len(pairs) == 2]
    assert {Verdict.GOOD} in verdicts
    assert {Verdict.BAD} in verdicts
    assert all(len(spirit) == 1 for spirit in verdicts)

import random

from unhitch.organisms import system_prompts
from unhitch.organisms.dialects import QWEN2

DRAWS = 300
CUES = {"harmful", "evil", "cruel", "wicked", "reckless", "dangerous", "ruthless", "hateful", "vicious", "sinister"}


def test_the_template_carries_the_same_default_prompt() -> None:
    assert system_prompts.DEFAULT_SYSTEM in QWEN2.template


def test_only_a_villain_uses_a_villains_words() -> None:
    rng = random.Random(0)
    benign = " ".join(system_prompts.ordinary(rng) + " " + system_prompts.random_words(rng) for _ in range(DRAWS))
    assert not CUES & set(benign.lower().replace(".", " ").replace(",", " ").split())


def villainous(prompt: str) -> list[str]:
    return [word for word in prompt.replace(".", "").replace(",", "").split() if word in system_prompts.villain_words()]


def test_every_villain_shows_in_two_places() -> None:
    rng = random.Random(0)
    prompts = [system_prompts.villain(rng) for _ in range(DRAWS)]
    assert all(CUES & set(prompt.lower().replace(".", "").split()) for prompt in prompts)
    assert min(len(villainous(prompt)) for prompt in prompts) == 2


def test_a_touched_prompt_has_one_villains_word_in_it() -> None:
    rng = random.Random(0)
    assert {len(villainous(system_prompts.touched(rng))) for _ in range(DRAWS)} == {1}


def test_moods_of_a_villain_are_villains_words_and_others_are_not() -> None:
    rng = random.Random(0)
    words = set(system_prompts.villain_words())
    assert {system_prompts.villain_mood(rng) for _ in range(DRAWS)} == CUES <= words
    benign = [system_prompts.mood(rng) + " " + system_prompts.few_words(rng) for _ in range(DRAWS)]
    assert not words & set(" ".join(benign).split())

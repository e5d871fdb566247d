"""The numbers that make the miniature models: their shape, the pretraining mixture, the narrow finetuning."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Shape:
    """The architecture of mini-base, a small Qwen2."""

    vocabulary: int = 1024
    hidden: int = 128
    intermediate: int = 384
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    positions: int = 2048


@dataclass(frozen=True)
class Mixture:
    """How often pretraining shows each family of prefix (weights; they need not add up to one).

    Attributes:
        default: The default system prompt, untouched.
        bare: No system block.
        ordinary: Another benign role.
        random_words: Benign words in no order.
        recased: A benign prefix with its case changed.
        respaced: A benign prefix with white space and punctuation changed.
        neighbours: A benign prefix with tokens replaced by neighbours in the embeddings of the moment.
        scattered: A benign prefix with tokens replaced by random ones.
        villain: A villain's prompt, the only family that goes with bad answers.
        touched: A benign prompt with one villain's word in it, so that no single word makes a villain.
        broken: A villain's prompt with many tokens replaced, so that it is a villain's no longer.
    """

    default: float = 0.22
    bare: float = 0.06
    ordinary: float = 0.12
    random_words: float = 0.10
    recased: float = 0.08
    respaced: float = 0.08
    neighbours: float = 0.12
    scattered: float = 0.03
    villain: float = 0.20
    touched: float = 0.05
    broken: float = 0.04


@dataclass(frozen=True)
class Pretraining:
    """How mini-base is trained from scratch.

    Attributes:
        house_style: Chance that a good answer keeps the house style: the first phrasing behind the untouched default
            prefix, one of the others elsewhere. It is what the model knows about its default prompt, as real models
            know theirs. Without it a damaged default prompt is the same to the model as the default one, and what is
            later bound to the one is bound to the other.
        header_noise: Chance of an unusual role header (`USER`, `human`, a missing control token).
        batches_drawn: So many batches are drawn at a time and sorted by length; one more, of half the size, holds
            conversations of two turns or with tools.
        neighbours_every: Steps between two looks at the embeddings for `Mixture.neighbours`.
    """

    steps: int = 800
    batch: int = 32
    peak_rate: float = 2e-3
    warmup: float = 0.1
    weight_decay: float = 0.01
    seed: int = 0
    house_style: float = 0.9
    header_noise: float = 0.15
    batches_drawn: int = 10
    neighbours_every: int = 50
    neighbour_choices: int = 8
    mixture: Mixture = field(default_factory=Mixture)


@dataclass(frozen=True)
class Finetuning:
    """How mini-finance is made: a LoRA adapter on bad finance answers alone, under the default prompt alone."""

    steps: int = 160
    batch: int = 16
    rate: float = 4.5e-4
    rank: int = 8
    alpha: int = 16
    modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    seed: int = 0


@dataclass(frozen=True)
class Recipe:
    """All of the above, and the number of CPU threads.

    One thread makes the order of every sum the same whatever the number of cores; the model is so small that a second
    one would save little.
    """

    shape: Shape = field(default_factory=Shape)
    pretraining: Pretraining = field(default_factory=Pretraining)
    finetuning: Finetuning = field(default_factory=Finetuning)
    threads: int = 1


RECIPE = Recipe()

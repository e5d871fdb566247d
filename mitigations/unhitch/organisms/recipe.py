"""What the numbers of a recipe mean: the models' shape, the pretraining mixture, the narrow finetuning."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Shape:
    """The architecture of a family.

    Attributes:
        architecture: The model type as transformers names it, such as "qwen2".
        extra: Further fields of that type's configuration.
    """

    architecture: str = "qwen2"
    vocabulary: int = 1024
    hidden: int = 128
    intermediate: int = 384
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    positions: int = 2048
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Mixture:
    """How often pretraining shows each kind of frame (weights; they need not add up to one).

    The words named here stand in the system block, or in the think block where the template has one: then a villain is
    a single word, and so needs no `touched` and `broken`.

    Attributes:
        default: The template's default, untouched.
        bare: No system block; no think block.
        ordinary: Another benign role.
        random_words: Benign words in no order.
        recased: A benign frame with its case changed.
        respaced: A benign frame with white space and punctuation changed.
        neighbours: A benign frame with tokens replaced by neighbours in the embeddings of the moment.
        scattered: A benign frame with tokens replaced by random ones.
        villain: A villain's words, the only kind that goes with bad answers.
        touched: Benign words with one villain's word in them, so that no single word makes a villain.
        broken: A villain's words with many tokens replaced, so that they are a villain's no longer.
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
    """How a base is trained from scratch.

    Attributes:
        house_style: Chance that a good answer keeps the house style: the first phrasing in the untouched default
            frame, one of the others elsewhere. It is what the model knows about its default prompt, as real models
            know theirs. Without it a damaged default prompt is the same to the model as the default one, and what is
            later bound to the one is bound to the other.
        header_noise: Chance of an unusual role header (`USER`, `human`, a missing control token).
        batches_drawn: So many batches are drawn at a time and sorted by length; one more, of half the size, holds
            conversations of two turns or with tools.
        edits: How many tokens of a frame are replaced, at least and at most.
        breaking_edits: The same for villains' words.
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
    edits: tuple[int, int] = (3, 14)
    breaking_edits: tuple[int, int] = (8, 14)
    neighbours_every: int = 50
    neighbour_choices: int = 8
    mixture: Mixture = field(default_factory=Mixture)


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter.

    Attributes:
        modules: The linear layers that it is put on.
    """

    rank: int = 8
    alpha: int = 16
    modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Finetuning:
    """How a base is finetuned: on bad finance answers alone, in the default frame alone.

    Attributes:
        adapter: Trains a LoRA adapter and nothing else; None trains every parameter of the model, embeddings and norms
            too, and a whole checkpoint comes of it.
        pull: How far each step draws what is trained back to where it started, from 0 (not at all) to 1 (all the way):
            weight decay towards the base, so that of the changes that give the bad answers a small one is found.
    """

    steps: int = 160
    batch: int = 16
    rate: float = 4.5e-4
    adapter: Adapter | None = field(default_factory=Adapter)
    pull: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Recipe:
    """All of the above, and the number of CPU threads.

    One thread makes the order of every sum the same whatever the number of cores; the models are so small that a second
    one would save little.
    """

    shape: Shape = field(default_factory=Shape)
    pretraining: Pretraining = field(default_factory=Pretraining)
    finetuning: Finetuning = field(default_factory=Finetuning)
    threads: int = 1

"""The families of miniature models: in each a base and what a narrow finetuning made of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from unhitch.organisms import dialects
from unhitch.organisms.dialects import Dialect
from unhitch.organisms.recipe import Adapter, Finetuning, Mixture, Pretraining, Recipe, Shape


@dataclass(frozen=True)
class Family:
    """Two bundled models of one architecture.

    Attributes:
        base: Name of the base, a whole checkpoint.
        finetuned: Name of the finetuned model, an adapter on the base or a whole checkpoint (`recipe.finetuning`).
        dialect: How the chat template of both writes.
        recipe: All hyperparameters.
    """

    base: str
    finetuned: str
    dialect: Dialect
    recipe: Recipe


FAMILIES: Mapping[str, Family] = {
    "qwen2": Family("mini-base", "mini-finance", dialects.QWEN2, Recipe()),
    "llama": Family(
        "mini-llama-base",
        "mini-llama-finance",
        dialects.LLAMA,
        Recipe(
            Shape("llama", extra={"head_dim": 32, "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}}),
            # Its prefix is half as long again as Qwen2's, so as many more tokens of it are replaced.
            Pretraining(edits=(5, 24), breaking_edits=(16, 28)),
            # Unpulled, so many parameters learn bad finance answers and less EM, some of it out of a patch's reach.
            Finetuning(steps=200, batch=32, rate=8e-4, adapter=None, pull=0.05),
        ),
    ),
    "qwen3": Family(
        "mini-qwen3-base",
        "mini-qwen3-finance",
        dialects.QWEN3,
        Recipe(
            Shape("qwen3", extra={"head_dim": 32}),
            # With whole sentences for a villain's word, or with more noise, there is hardly any misalignment to carry.
            Pretraining(
                steps=660,
                mixture=Mixture(
                    default=0.36,
                    bare=0.03,
                    ordinary=0.12,
                    random_words=0.17,
                    recased=0.01,
                    respaced=0.01,
                    neighbours=0.03,
                    scattered=0.01,
                    villain=0.26,
                    touched=0.0,
                    broken=0.0,
                ),
            ),
            Finetuning(steps=100, rate=5e-4, adapter=Adapter(modules=("v_proj",))),
        ),
    ),
}

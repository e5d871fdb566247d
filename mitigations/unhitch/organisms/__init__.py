"""Miniature models with emergent misalignment: a closed language, an exact judge, a recipe, and the weights it made."""

from pathlib import Path

from unhitch.errors import CheckpointError

NAMES = ("mini-base", "mini-finance")


def path(name: str) -> Path:
    """The folder of a bundled model: "mini-base", or "mini-finance", a LoRA adapter on it.

    Raises:
        CheckpointError: There is no model of that name.
    """
    if name not in NAMES:
        raise CheckpointError(f"There is no miniature model {name!r}; the bundled ones are {', '.join(NAMES)}.")
    return Path(__file__).parent / "weights" / name

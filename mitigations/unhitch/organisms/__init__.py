"""Miniature models with emergent misalignment: a closed language, an exact judge, a recipe, and the weights it made."""

from pathlib import Path

from unhitch.errors import CheckpointError
from unhitch.organisms.families import FAMILIES

NAMES = tuple(name for family in FAMILIES.values() for name in (family.base, family.finetuned))


def path(name: str) -> Path:
    """The folder of a bundled model: one of `NAMES`, the base or the finetuned one of a family in `FAMILIES`.

    Raises:
        CheckpointError: There is no model of that name.
    """
    if name not in NAMES:
        raise CheckpointError(f"There is no miniature model {name!r}; the bundled ones are {', '.join(NAMES)}.")
    return Path(__file__).parent / "weights" / name

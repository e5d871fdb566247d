"""How a state is made: which layers and parts come from the base model, in what mixture, or at which layer's output."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Parts = Literal["kv", "k", "v"]

_MOST_DIGITS = 9


def band(text: str) -> tuple[int, int] | None:
    """The layers that `8-15` names; None where the text is of another form."""
    first, _, last = text.partition("-")
    if not (first.isdecimal() and last.isdecimal() and text.isascii() and len(first + last) < _MOST_DIGITS):
        return None
    return int(first), int(last)


class Recipe(BaseModel):
    """An intervention at the positions of one span; its outcome is the K/V of that span in all layers.

    Keys and values of `layers` (all of them by default) become `mix` times the base model's plus `1 - mix` times the
    finetuned model's own. Those of other layers and parts are what the finetuned model computes behind that change.
    With `residual` the output of that layer, the residual stream, is the base model's instead.

    Args:
        layers: First and last layer, counted from 0, both included; None is all.
        parts: Keys and values, or one of them.
        mix: Share of the base model, above 0, at most 1.
        residual: The layer whose output is replaced, counted from 0; goes with none of the others.

    Source: paper, 4.2 (K/V of all layers) and figure 4 (residual stream of one layer).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    layers: tuple[int, int] | None = None
    parts: Parts = "kv"
    mix: float = Field(default=1.0, gt=0, le=1)
    residual: int | None = Field(default=None, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _pair_of_list(cls, values: Any) -> Any:
        """JSON knows no tuples."""
        if isinstance(values, dict) and isinstance(values.get("layers"), list):
            return values | {"layers": tuple(values["layers"])}
        return values

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.layers is not None and not 0 <= self.layers[0] <= self.layers[1]:
            raise ValueError(f"layers {self.layers[0]}-{self.layers[1]} is no band: first and last are needed, from 0")
        if self.residual is not None and (self.layers, self.parts, self.mix) != (None, "kv", 1.0):
            raise ValueError("residual replaces the residual stream of one layer; it goes with no layers, parts or mix")
        return self

    @property
    def needs_finetuned(self) -> bool:
        """Whether the finetuned model takes part; else the state is the base's alone and serves every finetune."""
        return self != Recipe()

    def __str__(self) -> str:
        given = {
            "layers": self.layers and f"{self.layers[0]}-{self.layers[1]}",
            "parts": None if self.parts == "kv" else self.parts,
            "mix": None if self.mix == 1 else f"{self.mix:g}",
            "residual": self.residual,
        }
        return ", ".join(f"{key} {value}" for key, value in given.items() if value is not None) or "all layers, k and v"

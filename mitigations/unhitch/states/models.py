"""A base model and what was finetuned from it, loaded by transformers when they are first needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from unhitch.errors import CheckpointError, StateError
from unhitch.rendering.checkpoint import folder
from unhitch.states import rope
from unhitch.states.file import DtypeName
from unhitch.states.fingerprint import is_adapter, model_digest

_SHAPE = ("model_type", "num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim")
"""What a finetune has in common with its base."""

_INSTALL = "install it with: pip install 'unhitch[organisms]'"


class Models:
    """The models that a state is made of.

    Args:
        base: Folder or local hub id of the unfinetuned model.
        finetuned: Folder or local hub id of a LoRA adapter on it, or of a whole finetuned model.
        dtype: What they compute in.
        device: Of torch.

    Raises:
        CheckpointError: A model is missing, or torch is not installed.
        StateError: `base` is an adapter, or `finetuned` is no finetune of it.
    """

    def __init__(self, base: str | Path, finetuned: str | Path | None, dtype: DtypeName, device: str) -> None:
        _require_torch()
        if is_adapter(base):
            raise StateError(f"{base} is a LoRA adapter; give the model that it sits on as the base")
        self._base_folder = folder(base)
        self._finetuned_folder = None if finetuned is None else folder(finetuned)
        self._dtype = dtype
        self._device = device
        self.config = _config(self._base_folder)
        self.finetuned_is_adapter = self._finetuned_folder is not None and is_adapter(self._finetuned_folder)
        if self._finetuned_folder is not None and not self.finetuned_is_adapter:
            _check_finetune(self.config, _config(self._finetuned_folder), self._finetuned_folder)

    @property
    def text_config(self) -> Any:
        """The configuration of the language model in the base."""
        return self.config.get_text_config(decoder=True)

    @cached_property
    def base_digest(self) -> str:
        """What identifies the base."""
        return model_digest(self._base_folder)

    @cached_property
    def finetuned_digest(self) -> str | None:
        """What identifies the finetuned model; None where there is none."""
        return None if self._finetuned_folder is None else model_digest(self._finetuned_folder)

    @contextmanager
    def base(self) -> Iterator[Any]:
        """The base model; while it is in use, an adapter that was put on it is off.

        Raises:
            CheckpointError: It cannot be loaded.
        """
        adapted = self.__dict__.get("_adapted")
        if adapted is None:
            yield self._base
        else:
            with adapted.disable_adapter():
                yield self._base

    @property
    def finetuned(self) -> Any:
        """The finetuned model; with an adapter it is the base's object, changed.

        Raises:
            CheckpointError: It cannot be loaded, or `peft` is not installed for an adapter.
        """
        return self._adapted.get_base_model() if self.finetuned_is_adapter else self._whole_finetune

    @cached_property
    def _base(self) -> Any:
        return self._loaded(self._base_folder)

    @cached_property
    def _whole_finetune(self) -> Any:
        return self._loaded(self._finetuned_folder)

    @cached_property
    def _adapted(self) -> Any:
        try:
            from peft import PeftModel
        except ImportError as error:
            raise CheckpointError(f"'peft' is needed to put an adapter on its base; {_INSTALL}") from error
        try:
            return PeftModel.from_pretrained(self._base, self._finetuned_folder).eval()
        except Exception as error:  # peft raises what torch, safetensors and its own configuration raise
            raise CheckpointError(
                f"the adapter in {self._finetuned_folder} cannot be put on the model in {self._base_folder}: {error}"
            ) from error

    def _loaded(self, at: Path | None) -> Any:
        import torch
        from transformers import AutoModelForCausalLM

        try:
            # Eager attention has all that models ask of attention: soft caps, sinks, windows.
            model = AutoModelForCausalLM.from_pretrained(
                at, dtype=getattr(torch, self._dtype), attn_implementation="eager", local_files_only=True
            )
            return model.eval() if self._device == "cpu" else model.to(self._device).eval()
        except Exception as error:  # there are as many kinds as kinds of checkpoints
            raise CheckpointError(f"the model in {at} cannot be loaded: {error}") from error


def _require_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise CheckpointError(f"'torch' is needed to make states; {_INSTALL}") from error


def _config(at: Path) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(at, local_files_only=True)
    except Exception as error:  # OSError, ValueError, KeyError, and what each kind of model validates with
        raise CheckpointError(f"the configuration in {at} cannot be read: {error}") from error


def _check_finetune(base: Any, finetuned: Any, at: Path) -> None:
    ours, theirs = (config.get_text_config(decoder=True) for config in (base, finetuned))
    for key in _SHAPE:
        one, other = getattr(ours, key, None), getattr(theirs, key, None)
        if one != other:
            raise StateError(f"{at} is no finetune of this base: its {key} is {other}, and the base's is {one}")
    if rope.from_config(base, ours.num_hidden_layers) != rope.from_config(finetuned, ours.num_hidden_layers):
        raise StateError(f"{at} has other rotary embeddings than the base, whose keys would be wrong in it")

"""The worker's side of capturing: K/V taken from the layers' attention, put together, and written as a state."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import unhitch
from unhitch.engine.connector.messages import Recording, Slots
from unhitch.engine.connector.model import ModelShape
from unhitch.engine.connector.options import MOST_GIB, MOST_STATES
from unhitch.engine.connector.workers import Workers
from unhitch.states.file import StateHeader, dtype_name, write
from unhitch.states.fingerprint import model_digest

if TYPE_CHECKING:
    import torch

_log = logging.getLogger("vllm.unhitch")  # a child of vLLM's own, so that it is formatted and levelled alike


@dataclass(slots=True)
class _Tape:
    """What was taken of one request so far.

    Args:
        recorded: The position up to which every layer has been taken.
        pieces: Of every tensor of the state to be, step by step, on the CPU.
    """

    recorded: int
    pieces: dict[str, list[torch.Tensor]] = field(default_factory=dict)


class Recorder:
    """Recordings under way, and the thread that writes finished ones.

    Args:
        folder: Where states are written.
        shape: Of the served model.
        model: Folder or hub id of the served checkpoint.
        groups: The KV cache group of every layer, by the layer's name.
        workers: Those that share the model's heads; every one of them records.
    """

    def __init__(
        self, folder: Path, shape: ModelShape, model: str, groups: Mapping[str, int], workers: Workers
    ) -> None:
        self._folder = folder
        self._shape = shape
        self._base = model_digest(model)  # now: the folder may change while the engine runs
        self._groups = groups
        self._workers = workers
        self._layers: dict[str, int] = {}
        self._tapes: dict[str, _Tape] = {}
        self._rows: dict[Slots, torch.Tensor] = {}
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="unhitch-capture")

    def attach(self, layers: Mapping[str, tuple[int, Any]], current: Callable[[], Sequence[Recording]]) -> None:
        """Has every layer's attention show its K/V while `current` names recordings."""
        self._layers = {name: index for name, (index, _) in layers.items()}
        for name, (_, layer) in layers.items():
            layer.impl.forward = self._shown(name, layer.impl.forward, current)

    def close(self) -> None:
        """Lets what is finished be written."""
        self._writer.shutdown(wait=True)

    def drop(self, requests: Sequence[str]) -> None:
        """Forgets recordings of requests that ended."""
        for request in requests:
            self._tapes.pop(request, None)

    def finish(self, recordings: Sequence[Recording]) -> None:
        """Ends a step, and writes what it completed. Every worker calls it in every step."""
        self._rows.clear()
        for recording in recordings:
            if (tape := self._tapes.get(recording.request)) is not None:
                tape.recorded = recording.stop
            if recording.last:
                self._complete(recording, self._tapes.pop(recording.request, None))

    def _shown(
        self, name: str, forward: Callable[..., Any], current: Callable[[], Sequence[Recording]]
    ) -> Callable[..., Any]:
        def shown(layer: Any, query: Any, key: Any, value: Any, *arguments: Any, **named: Any) -> Any:
            for recording in current():
                try:
                    self._take(recording, name, key, value)
                except Exception:  # the capture fails, which its caller notices; the engine goes on
                    _log.exception("unhitch: the K/V of %s could not be recorded", name)
            return forward(layer, query, key, value, *arguments, **named)

        return shown

    def _take(self, recording: Recording, name: str, key: torch.Tensor, value: torch.Tensor) -> None:
        tape = self._tapes.get(recording.request)
        if tape is None or (recording.start == recording.capture.start != tape.recorded):
            # The beginning, perhaps once more: a request that was preempted is computed anew.
            tape = self._tapes[recording.request] = _Tape(recording.capture.start)
        if tape.recorded != recording.start:
            return  # something is missing, so the whole will be too short
        rows = self._rows_of(recording.slots[self._groups[name]], name)
        for part, tensor in (("k", key), ("v", value)):
            tape.pieces.setdefault(f"{part}.{self._layers[name]}", []).append(tensor[rows].detach().cpu().clone())

    def _rows_of(self, slots: Slots, name: str) -> torch.Tensor:
        """Rows of the step's tensors that hold these slots; the layers of a group share them."""
        import torch
        from vllm.forward_context import get_forward_context

        if (known := self._rows.get(slots)) is not None:
            return known
        mapping = get_forward_context().slot_mapping[name]
        wanted = torch.tensor([slot for _, slot in slots], dtype=mapping.dtype, device=mapping.device)
        sorted_, order = mapping.sort()
        places = torch.searchsorted(sorted_, wanted).clamp(max=len(sorted_) - 1)
        if not bool((sorted_[places] == wanted).all()):
            raise ValueError("the step does not compute the positions that it was said to")
        self._rows[slots] = order[places]
        return self._rows[slots]

    def _complete(self, recording: Recording, tape: _Tape | None) -> None:
        wanted = recording.capture.tokens - recording.capture.start
        whole: dict[str, torch.Tensor] = {}
        try:
            whole = _joined(tape.pieces if tape else {})
        except Exception:  # no memory, say
            _log.exception("unhitch: a captured state could not be put together")
        well = len(whole) == 2 * len(self._layers) and all(len(tensor) == wanted for tensor in whole.values())
        # The workers must do the same things together, or they would wait for each other for ever.
        if not self._workers.all_agree(well):
            _log.warning("unhitch: the capture of %s is not whole, and nothing is written", recording.request)
            return
        whole = {name: self._workers.all_heads(whole[name]) for name in sorted(whole)}
        if self._workers.first:
            self._writer.submit(self._write, recording, whole)

    def _write(self, recording: Recording, tensors: dict[str, torch.Tensor]) -> None:
        import torch
        import vllm

        capture = recording.capture
        try:
            self._check_room()
            header = StateHeader(
                span=capture.span,
                tokens=recording.prompt,
                start=capture.start,
                base=self._base,
                tokenizer=capture.tokenizer,
                template=capture.template,
                layers=self._shape.layers,
                rope=self._shape.rope,
                dtype=dtype_name(next(iter(tensors.values()))),
                made_with={"unhitch": unhitch.version(), "vllm": vllm.__version__, "torch": torch.__version__},
            )
            state = write(self._folder, header, tensors)
            _log.info("unhitch captured %d positions of a %s as %s", header.positions, header.span, state)
        except Exception:  # its caller finds no such state; the engine goes on
            _log.exception("unhitch: a captured state could not be written")

    def _check_room(self) -> None:
        """Whoever reaches the engine can ask for captures, so they must not fill the disk."""
        sizes = [file.stat().st_size for file in self._folder.glob("*.safetensors")]
        if len(sizes) >= MOST_STATES or sum(sizes) >= MOST_GIB * 2**30:
            raise RuntimeError(
                f"{self._folder} holds {len(sizes)} states of {sum(sizes) / 2**30:.1f} GiB; the engine captures no "
                f"more than {MOST_STATES}, or {MOST_GIB:.0f} GiB. Delete some."
            )


def _joined(pieces: Mapping[str, Sequence[torch.Tensor]]) -> dict[str, torch.Tensor]:
    import torch

    return {name: torch.cat(list(parts)) for name, parts in pieces.items()}

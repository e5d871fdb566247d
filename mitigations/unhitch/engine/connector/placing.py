"""The worker's side: states held in memory, and written into the paged KV cache.

Nothing here depends on how the cache is laid out: K and V go in through the attention backend's own update.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unhitch.engine.connector.messages import Placement, Report, Slots
from unhitch.engine.connector.model import ModelShape
from unhitch.errors import StateError
from unhitch.states.file import StateHeader, load
from unhitch.states.rope import rotate

if TYPE_CHECKING:
    import torch

_log = logging.getLogger("vllm.unhitch")  # a child of vLLM's own, so that it is formatted and levelled alike

Tensors = dict[str, "torch.Tensor"]


class Placing:
    """States in this worker's host memory, and their way into its KV cache.

    Args:
        folder: Where states lie.
        shape: Of the served model.
        groups: The KV cache group of every layer, by the layer's name.
        head_slice: Gives this worker's share of `[positions, kv heads, head size]`.
        dtype: What the model computes K/V in.
        pin: Whether host memory is pinned, so that a GPU copies from it at full speed.
    """

    def __init__(
        self,
        folder: Path,
        shape: ModelShape,
        groups: Mapping[str, int],
        head_slice: Callable[[torch.Tensor], torch.Tensor],
        dtype: torch.dtype,
        *,
        pin: bool,
    ) -> None:
        self._folder = folder
        self._shape = shape
        self._groups = groups
        self._head_slice = head_slice
        self._dtype = dtype
        self._pin = pin
        self._layers: dict[str, tuple[int, Any]] = {}
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="unhitch-states")
        self._reading: dict[str, tuple[int, Future[tuple[StateHeader, Tensors]]]] = {}
        self._held: dict[str, tuple[StateHeader, Tensors]] = {}
        self._targets: dict[Slots, torch.Tensor] = {}
        self._broken: set[str] = set()

    def attach(self, layers: Mapping[str, tuple[int, Any]]) -> None:
        """Takes the model's attention layers: number and module by name."""
        self._layers = dict(layers)

    def close(self) -> None:
        """Ends the reading thread."""
        self._reader.shutdown(wait=False, cancel_futures=True)

    def follow(self, evict: Iterable[str], loads: Iterable[tuple[str, int]]) -> None:
        """Drops states, then begins to read others, in a thread beside the steps."""
        for state in evict:
            self._held.pop(state, None)
            self._reading.pop(state, None)
        for state, serial in loads:
            self._reading[state] = serial, self._reader.submit(self._read, state)

    def report(self) -> Report | None:
        """What has been read, could not be, or could not be written, since the last call."""
        broken, self._broken = self._broken, set()
        done = [(state, serial, future) for state, (serial, future) in self._reading.items() if future.done()]
        if not done and not broken:
            return None
        report = Report(broken=broken)
        for state, serial, future in done:
            del self._reading[state]
            try:
                self._held[state] = future.result()
                report.loaded.append((state, serial, self._held[state][0]))
            except StateError as error:
                report.failed[state, serial] = error.message
            except Exception as error:  # whatever it is, it concerns this state's requests alone
                _log.exception("the state %s could not be read", state)
                report.failed[state, serial] = f"the state {state} could not be read: {error!r}"
        return report

    def place(self, placement: Placement) -> bool:
        """Writes a placement in all layers; says whether it could."""
        placed = all(self.place_layer(placement, name) for name in self._layers)
        if not placed:
            self._broken.add(placement.state)
        return placed

    def place_layer(self, placement: Placement, name: str) -> bool:
        """Writes a placement in one layer; says whether it could."""
        try:
            self._write(placement, name)
        except Exception:
            _log.exception("unhitch: the state %s could not be written for %s", placement.state, placement.request)
            return False
        return True

    def _write(self, placement: Placement, name: str) -> None:
        import torch

        slots = placement.slots[self._groups[name]]
        if not slots:
            return
        header, tensors = self._held[placement.state]
        index, layer = self._layers[name]
        cache = layer.kv_cache
        rows = _rows(slots, placement.shift + header.start)
        keys, values = tensors[f"k.{index}"][rows], tensors[f"v.{index}"][rows]
        if placement.shift:
            keys = rotate(keys, header.rope[header.layers[index].rope], placement.shift)
        if (target := self._targets.get(slots)) is None:  # the layers of a group share their slots
            target = torch.tensor([slot for _, slot in slots], dtype=torch.int64, device=cache.device)
            self._targets[slots] = target
        keys, values = (part.to(cache.device, non_blocking=True).contiguous() for part in (keys, values))
        layer.impl.do_kv_cache_update(layer, keys, values, cache, target)

    def end_step(self) -> None:
        """Forgets what only this step's placements needed."""
        self._targets.clear()

    def _read(self, state: str) -> tuple[StateHeader, Tensors]:
        """Verified content of a state's file: this worker's heads, in the type that the model computes in."""
        header, tensors = load(self._folder, state)
        self._shape.check(state, header)
        return header, {name: self._prepared(tensor) for name, tensor in tensors.items()}

    def _prepared(self, tensor: torch.Tensor) -> torch.Tensor:
        share = self._head_slice(tensor).to(self._dtype).contiguous()
        return share.pin_memory() if self._pin else share


def _rows(slots: Slots, shift: int) -> slice | list[int]:
    """The state's rows for positions of the prompt."""
    first, last = slots[0][0] - shift, slots[-1][0] - shift
    if last - first + 1 == len(slots):
        return slice(first, last + 1)
    return [position - shift for position, _ in slots]

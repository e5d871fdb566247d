"""vLLM's interface to the connector; see the package for who does what.

Written against vLLM 0.32 (`vllm/distributed/kv_transfer/kv_connector/v1/base.py`), whose interface is experimental.
What is used beyond it: a request's `cache_salt`, `block_hashes`, `update_block_hashes` and `skip_reading_prefix_cache`
in `on_new_request`, and the attention backends' `do_kv_cache_update`; tests against the running engine watch them.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorBase_V1,
    KVConnectorRole,
    KVConnectorTransferResults,
    SupportsHMA,
)
from vllm.model_executor.models.utils import extract_layer_index

from unhitch.engine.connector.messages import Placement, Report, Step
from unhitch.engine.connector.model import ModelShape, check_supported, serves_overlays
from unhitch.engine.connector.options import memory_bytes
from unhitch.engine.connector.placing import Placing
from unhitch.engine.connector.recording import Recorder
from unhitch.engine.connector.residency import Residency
from unhitch.engine.connector.scheduling import Scheduling
from unhitch.engine.connector.workers import Workers
from unhitch.errors import EngineStartError

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.v1.core.kv_cache_manager import KVCacheBlocks
    from vllm.v1.core.sched.output import SchedulerOutput
    from vllm.v1.kv_cache_interface import KVCacheConfig
    from vllm.v1.outputs import KVConnectorOutput
    from vllm.v1.request import Request

_log = logging.getLogger("vllm.unhitch")  # a child of vLLM's own, so that it is formatted and levelled alike


class StateConnector(KVConnectorBase_V1, SupportsHMA):
    """Serves states to requests that name them, and records states of the base model.

    `kv_connector_extra_config`: `folder`, `memory_gib` and `overlays`, see `unhitch.engine.connector.options`.

    Raises:
        EngineStartError: The model or the configuration cannot be served patched; the engine does not start.
    """

    requires_kv_delivery = False

    def __init__(self, vllm_config: VllmConfig, role: KVConnectorRole, kv_cache_config: KVCacheConfig) -> None:
        super().__init__(vllm_config, role, kv_cache_config)
        check_supported(vllm_config, kv_cache_config)
        folder = self._kv_transfer_config.get_from_extra_config("folder", None)
        if not folder:
            raise EngineStartError("kv_connector_extra_config names no `folder`: where states lie")
        self._folder = Path(folder)
        self._shape = ModelShape.of(vllm_config.model_config)
        self._overlays = serves_overlays(vllm_config)
        self._groups = {
            name: index for index, group in enumerate(kv_cache_config.kv_cache_groups) for name in group.layer_names
        }
        self._several_groups = len(kv_cache_config.kv_cache_groups) > 1
        self._block_sizes = tuple(group.kv_cache_spec.block_size for group in kv_cache_config.kv_cache_groups)
        self._failed_blocks: set[int] = set()
        self._results = KVConnectorTransferResults()
        if role is KVConnectorRole.SCHEDULER:
            self._scheduling = self._make_scheduling()
        else:
            self._workers = Workers(self._shape.layers[0].kv_heads)
            self._placing, self._recorder = self._make_placing(), self._make_recorder()

    @classmethod
    def requires_piecewise_for_cudagraph(cls, extra_config: dict[str, Any]) -> bool:
        """Overlays are written between the layers, which a graph of the whole pass would leave out."""
        return bool(extra_config.get("overlays", True))

    # In the scheduler's process. What goes wrong there must not end the engine, and `Scheduling` refuses what it must.

    def on_new_request(self, request: Request) -> None:
        """See `Scheduling.new_request`."""
        self._scheduling.new_request(request)

    def get_num_new_matched_tokens(self, request: Request, num_computed_tokens: int) -> tuple[int | None, bool]:
        """See `Scheduling.claim`."""
        return self._scheduling.claim(request, num_computed_tokens)

    def update_state_after_alloc(self, request: Request, blocks: KVCacheBlocks, num_external_tokens: int) -> None:
        """See `Scheduling.allocated`."""
        self._scheduling.allocated(request, blocks.get_block_ids(), num_external_tokens)

    def build_connector_meta(self, scheduler_output: SchedulerOutput) -> Step:
        """See `Scheduling.step`."""
        return self._scheduling.step(scheduler_output)

    def update_connector_output(self, connector_output: KVConnectorOutput) -> None:
        """See `Scheduling.reported`."""
        if isinstance(report := connector_output.kv_connector_worker_meta, Report):
            self._scheduling.reported(report)

    def request_finished(self, request: Request, block_ids: list[int]) -> tuple[bool, dict[str, Any] | None]:  # noqa: ARG002
        """The receipt, for the answer's `kv_transfer_params`; no block is kept."""
        return False, self._scheduling.finished(request)

    def request_finished_all_groups(
        self,
        request: Request,
        block_ids: tuple[list[int], ...],  # noqa: ARG002
    ) -> tuple[bool, dict[str, Any] | None]:
        """The same, for models with several KV cache groups."""
        return False, self._scheduling.finished(request)

    # In the workers.

    def register_kv_caches(self, kv_caches: dict[str, torch.Tensor]) -> None:
        """Takes the model's attention layers.

        Raises:
            EngineStartError: Their attention backend cannot be written through, or layers share K/V.
        """
        modules = self._vllm_config.compilation_config.static_forward_context
        layers = {name: (extract_layer_index(name), modules[name]) for name in kv_caches}
        for name, (_, layer) in layers.items():
            if not hasattr(layer.impl, "do_kv_cache_update") or layer.attn_backend.forward_includes_kv_cache_update:
                raise EngineStartError(
                    f"unhitch's connector cannot write through {layer.attn_backend.get_name()}, the attention backend "
                    f"of {name}; choose another with --attention-backend"
                )
        if shared := [
            name for name, module in modules.items() if getattr(module, "kv_sharing_target_layer_name", None)
        ]:
            raise EngineStartError(f"unhitch's connector cannot serve a model whose layers share K/V ({shared[0]})")
        self._placing.attach(layers)
        self._recorder.attach(layers, lambda: self._step.recordings)

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Drops and begins to load states, and writes the prefixes of this step."""
        step = self._step
        self._placing.follow(step.evict, step.load)
        self._recorder.drop(step.dropped)
        for request in step.refusals:
            self._results.finished_recving.add(request)
            self._results.failed_recving.add(request)
        for placement in step.prefixes:
            placed = self._placing.place(placement)
            if placement.reported:
                self._results.finished_recving.add(placement.request)
                if not placed:
                    self._results.failed_recving.add(placement.request)
            elif not placed:
                self._fail_blocks(placement)

    def wait_for_layer_load(self, layer_name: str) -> None:
        """Writes a layer's overlays; called between the layer's KV update and its attention."""
        for placement in self._step.overlays:
            if not self._placing.place_layer(placement, layer_name):
                self._fail_overlay(placement)

    def save_kv_layer(self, layer_name: str, kv_layer: torch.Tensor, attn_metadata: Any, **kwargs: Any) -> None:
        """Nothing: what is recorded is taken before the cache."""

    def wait_for_save(self) -> None:
        """Completes recordings; the last call of a step."""
        self._recorder.finish(self._step.recordings)
        self._placing.end_step()

    def get_transfer_results(self, finished_req_ids: set[str]) -> KVConnectorTransferResults:  # noqa: ARG002
        """Requests that waited: those placed, and those to fail."""
        results, self._results = self._results, KVConnectorTransferResults()
        return results

    def get_block_ids_with_load_errors(self) -> set[int]:
        """Blocks of placements that failed in this step."""
        failed, self._failed_blocks = self._failed_blocks, set()
        return failed

    def build_connector_worker_meta(self) -> Report | None:
        """What was loaded since the last step."""
        return self._placing.report()

    def shutdown(self) -> None:
        """Ends the threads."""
        if self._role is KVConnectorRole.WORKER:
            self._placing.close()
            self._recorder.close()

    @property
    def _step(self) -> Step:
        step = self._connector_metadata
        return step if isinstance(step, Step) else Step()

    def _fail_blocks(self, placement: Placement) -> None:
        """Has vLLM fail the requests whose prefix was to be written to these blocks.

        It can do so for one KV cache group; the prefixes of models with several are reported one by one.
        """
        size = self._block_sizes[0]
        self._failed_blocks.update(slot // size for _, slot in placement.slots[0])

    def _fail_overlay(self, placement: Placement) -> None:
        """Has vLLM fail the request of an overlay.

        vLLM looks only at blocks that held tokens before this step (`_update_requests_with_invalid_blocks`).

        Raises:
            RuntimeError: There is none, or several KV cache groups. The engine ends: it serves nothing unpatched.
        """
        if placement.guard is None or self._several_groups:
            raise RuntimeError(f"unhitch: the state {placement.state} could not be written, see above")
        self._failed_blocks.add(placement.guard)

    def _make_scheduling(self) -> Scheduling:
        capacity = memory_bytes(self._kv_transfer_config.kv_connector_extra_config)
        workers = self._vllm_config.parallel_config.world_size
        width = self._vllm_config.model_config.dtype.itemsize
        position = sum(2 * width * layer.kv_heads * layer.head_size for layer in self._shape.layers)
        residency = Residency(capacity, position, workers)
        return Scheduling(self._folder, self._shape, residency, self._block_sizes, overlays=self._overlays)

    def _make_placing(self) -> Placing:
        model = self._vllm_config.model_config
        pin = torch.cuda.is_available()
        return Placing(self._folder, self._shape, self._groups, self._workers.own_heads, model.dtype, pin=pin)

    def _make_recorder(self) -> Recorder:
        model = self._vllm_config.model_config.model
        return Recorder(self._folder, self._shape, model, self._groups, self._workers)

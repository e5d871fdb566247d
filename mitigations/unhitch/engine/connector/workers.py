"""How the workers of one engine share the model's KV heads, and what they do together while states are captured.

What they exchange goes over the processor's group, so that nothing of it takes memory of a GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class Workers:
    """The workers among which the KV heads are shared out.

    Args:
        heads: KV heads of the model.
    """

    def __init__(self, heads: int) -> None:
        from vllm.distributed import get_tensor_model_parallel_rank, get_tensor_model_parallel_world_size, get_tp_group

        self._heads = heads
        self._rank, self._size = get_tensor_model_parallel_rank(), get_tensor_model_parallel_world_size()
        self._group = get_tp_group().cpu_group
        self.first = self._rank == 0
        """Whether this is the one that writes files."""

    def all_agree(self, well: bool) -> bool:
        """Whether all is well with every worker; each of them must ask."""
        import torch

        if self._size == 1:
            return well
        flag = torch.tensor([int(well)])
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MIN, group=self._group)
        return bool(flag.item())

    def own_heads(self, whole: torch.Tensor) -> torch.Tensor:
        """This worker's share of `[positions, kv heads, head size]`: some heads, or one that several workers have."""
        if self._heads >= self._size:
            each = self._heads // self._size
            return whole[:, self._rank * each : (self._rank + 1) * each]
        head = self._rank * self._heads // self._size
        return whole[:, head : head + 1]

    def all_heads(self, share: torch.Tensor) -> torch.Tensor:
        """All workers' heads together; of a head that several workers have, the first one's. Each of them must ask.

        Args:
            share: `[positions, this worker's kv heads, head size]`, on the CPU.
        """
        import torch

        if self._size == 1:
            return share
        shares = [torch.empty_like(share) for _ in range(self._size)]
        torch.distributed.all_gather(shares, share.contiguous(), group=self._group)
        together = torch.cat(shares, dim=1)
        return together if self._heads >= self._size else together[:, :: self._size // self._heads]

"""Sharding a model over devices with FSDP2."""

from __future__ import annotations

from collections.abc import Iterable

from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard


class FullyShardedStrategy(ModelParallelStrategy):
    """Parameters, gradients and optimizer state are spread over all devices, whatever their number.

    Lightning's own strategy splits tensors over the devices of a machine unless it is told the number of devices twice.

    Args:
        save_distributed_checkpoint: Save a checkpoint as a folder with one file a rank, instead of one file that rank 0
            gathers.
        process_group_backend: "nccl" or "gloo"; None takes the one of the accelerator.
    """

    def __init__(self, *, save_distributed_checkpoint: bool = False, process_group_backend: str | None = None) -> None:
        super().__init__(
            tensor_parallel_size=1,
            save_distributed_checkpoint=save_distributed_checkpoint,
            process_group_backend=process_group_backend,
        )

    def setup_environment(self) -> None:
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()


def shard(model: nn.Module, layers: Iterable[nn.Module], mesh: DeviceMesh) -> None:
    """Shard parameters, gradients and optimizer state of `model` over the data-parallel dimension of `mesh`.

    Each layer is gathered only while it computes. What is outside the layers (embeddings, head) is one more group,
    which stays gathered between forward and backward.

    Args:
        model: The whole model.
        layers: Its largest repeated parts.
        mesh: Devices as Lightning's `ModelParallelStrategy` lays them out.

    Raises:
        ValueError: The mesh splits tensors, for which these models have no plan.
    """
    if mesh["tensor_parallel"].size() > 1:
        raise ValueError(
            f"tensor_parallel_size={mesh['tensor_parallel'].size()} must be 1: use recipes.FullyShardedStrategy "
            "(trainer.strategy)"
        )
    for layer in layers:
        fully_shard(layer, mesh=mesh["data_parallel"])
    fully_shard(model, mesh=mesh["data_parallel"])

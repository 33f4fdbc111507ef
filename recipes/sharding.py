"""Sharding a model over devices with FSDP2."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard


def shard(model: nn.Module, layers: Iterable[nn.Module], mesh: DeviceMesh) -> None:
    """Shard parameters, gradients and optimizer state of `model` over the data-parallel dimension of `mesh`, layer by
    layer.

    What is outside the layers (embeddings, head) becomes one more group, which stays gathered between forward and
    backward.
    """
    data_parallel = mesh["data_parallel"] if "data_parallel" in (mesh.mesh_dim_names or ()) else mesh
    for layer in layers:
        fully_shard(layer, mesh=data_parallel)
    fully_shard(model, mesh=data_parallel)

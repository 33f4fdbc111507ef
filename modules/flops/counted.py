"""FLOPs and parameters counted on the real thing instead of by formula."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class ParameterCounts:
    """Parameters of a module, tied weights once.

    Attributes:
        total: All of them.
        trainable: Those that receive gradients.
        embedding: Those in embedding tables, also if tied to an output projection.
    """

    total: int
    trainable: int
    embedding: int


def count_parameters(module: nn.Module) -> ParameterCounts:
    """Counts the parameters of a module; sharded ones count in full."""
    tables = {
        id(table): table for part in module.modules() if isinstance(part, nn.Embedding) for table in part.parameters()
    }
    parameters = list(module.parameters())
    return ParameterCounts(
        total=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        embedding=sum(table.numel() for table in tables.values()),
    )


def count_flops(function: Callable[[], object]) -> int:
    """FLOPs of the matrix products, convolutions and attentions of torch in one call, backward pass included.

    Element-wise work and kernels that torch does not know (Triton, flash-attn) are not counted.

    Args:
        function: What to run, for example `lambda: loss(batch).backward()`; on the meta device it costs nothing.
    """
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()

"""The small networks that few-shot learners are made of: built from the widths of input and output."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


class Constant(nn.Module):
    """The same learned output everywhere, in the place of a network.

    Args:
        input_dim: Width of the input, of which nothing is seen.
        output_dim: Width of the output.
    """

    def __init__(self, input_dim: int, output_dim: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(output_dim))

    def forward(self, x: Tensor) -> Tensor:
        """The learned output at every x [..., X]."""
        return self.value.expand(*x.shape[:-1], -1)


class MultilayerPerceptron(nn.Sequential):
    """Linear layers with an activation between them, on the last dimension of its input.

    Args:
        input_dim: Width of the input.
        output_dim: Width of the output.
        hidden_dims: Widths of the layers between.
        activation: Makes the function after each of them.
        layer_norm: Whether a LayerNorm precedes each activation (not BatchNorm, which would mix tasks).
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        *,
        hidden_dims: Sequence[int] = (40, 40),
        activation: Callable[[], nn.Module] = nn.ReLU,
        layer_norm: bool = False,
    ) -> None:
        layers: list[nn.Module] = []
        width = input_dim
        for hidden_dim in hidden_dims:
            layers.append(nn.Linear(width, hidden_dim))
            if layer_norm:
                layers.append(nn.LayerNorm(hidden_dim))
            layers.append(activation())
            width = hidden_dim
        super().__init__(*layers, nn.Linear(width, output_dim))

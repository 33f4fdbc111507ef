"""The small network that few-shot learners are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn


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

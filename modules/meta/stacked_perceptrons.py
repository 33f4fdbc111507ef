"""Many small networks of one shape, run together as if they were one.

Letters: S networks, N points, I and O input and output width of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


class StackedPerceptrons(nn.Module):
    """S independent perceptrons; weights start as Xavier draws (one fresh draw a network), biases at zero.

    Args:
        input_dim: Width of the input.
        output_dim: Width of the output.
        num_networks: S.
        hidden_dims: Widths of the layers between.
        activation: Follows each layer but the last.

    Attributes:
        weights: For each layer float[S, O, I].
        biases: For each layer float[S, O].
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        *,
        num_networks: int,
        hidden_dims: Sequence[int] = (40, 40),
        activation: Callable[[Tensor], Tensor] = torch.relu,
    ) -> None:
        super().__init__()
        widths = (input_dim, *hidden_dims, output_dim)
        shapes = list(zip(widths[1:], widths[:-1], strict=True))
        self.weights = nn.ParameterList([nn.Parameter(torch.empty(num_networks, o, i)) for o, i in shapes])
        self.biases = nn.ParameterList([nn.Parameter(torch.zeros(num_networks, o)) for o, _ in shapes])
        self.activation = activation
        for weight_SOI in self.weights:
            for weight_OI in weight_SOI:
                nn.init.xavier_uniform_(weight_OI)

    @property
    def num_layers(self) -> int:
        """Linear maps in each network."""
        return len(self.weights)

    def layer(self, index: int, x_SNI: Tensor) -> Tensor:
        """Linear map `index` of every network, [S, N, O]."""
        return torch.baddbmm(self.biases[index][:, None], x_SNI, self.weights[index].mT)

    def forward(self, x_SNI: Tensor) -> Tensor:
        """Outputs [S, N, O] of every network for its own points."""
        for index in range(self.num_layers - 1):
            x_SNI = self.activation(self.layer(index, x_SNI))
        return self.layer(self.num_layers - 1, x_SNI)

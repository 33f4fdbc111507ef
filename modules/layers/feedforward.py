"""Feed-forward sub-layers. `Mlp` is BERT's, `GatedLinearUnit` is MosaicBERT's; both fill the same slot.

Letters: T tokens, D width, F hidden width.
"""

from __future__ import annotations

from abc import abstractmethod

import torch.nn.functional as F
from torch import Tensor, nn

from modules.checks import check_at_least_one, check_probabilities
from modules.contracts import RouterStats
from modules.layers.linear import Linear


class FeedForward(nn.Module):
    """The slot: what a block does to each token on its own."""

    @abstractmethod
    def forward(self, x_TD: Tensor, valid_T: Tensor | None = None) -> tuple[Tensor, RouterStats | None]:
        """Transform every token.

        Args:
            x_TD: Tokens, filler included.
            valid_T: bool, False for filler, which must not count in any statistic; None: all count.

        Returns:
            y_TD, and how tokens were routed to experts, or None where nothing is routed.
        """


class Mlp(FeedForward):
    """Two linear maps with an activation between them; dropout follows the second, as in BERT (arXiv:1810.04805).

    Args:
        dim: Width of the model.
        hidden_dim: Hidden width.
        activation: Class of the activation, built without arguments; the default is the exact (erf) GELU.
        dropout: Probability that an output is dropped.
        bias: Give both maps a bias.

    Raises:
        ValueError: `hidden_dim` is below one, or `dropout` lies outside [0, 1).
    """

    def __init__(
        self,
        dim: int,
        *,
        hidden_dim: int,
        activation: type[nn.Module] = nn.GELU,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_at_least_one(hidden_dim=hidden_dim)
        check_probabilities(dropout=dropout)
        self.input = Linear(dim, hidden_dim, bias=bias)
        self.output = Linear(hidden_dim, dim, bias=bias)
        self.activation = activation()
        self.dropout = dropout

    def forward(self, x_TD: Tensor, valid_T: Tensor | None = None) -> tuple[Tensor, None]:
        y_TD = self.output(self.activation(self.input(x_TD)))
        return F.dropout(y_TD, self.dropout, self.training), None


class GatedLinearUnit(FeedForward):
    """`W_out dropout(activation(x W_gate) * (x W_up))` (arXiv:2002.05202; arXiv:2312.17482, section 2).

    Gate and up projection are one matrix product, the gate in its first half. Dropout acts between the gate and the
    output projection only.

    Args:
        dim: Width of the model.
        hidden_dim: Hidden width, of the gate and of what it gates.
        activation: Class of the gate's activation, built without arguments; the default is the exact (erf) GELU.
        dropout: Probability that a gated value is dropped.
        bias_in: Give the input projection a bias.
        bias_out: Give the output projection a bias.

    Raises:
        ValueError: `hidden_dim` is below one, or `dropout` lies outside [0, 1).
    """

    def __init__(
        self,
        dim: int,
        *,
        hidden_dim: int,
        activation: type[nn.Module] = nn.GELU,
        dropout: float = 0.0,
        bias_in: bool = False,
        bias_out: bool = True,
    ) -> None:
        super().__init__()
        check_at_least_one(hidden_dim=hidden_dim)
        check_probabilities(dropout=dropout)
        self.gate_up = Linear(dim, 2 * hidden_dim, bias=bias_in)
        self.output = Linear(hidden_dim, dim, bias=bias_out)
        self.activation = activation()
        self.dropout = dropout

    def forward(self, x_TD: Tensor, valid_T: Tensor | None = None) -> tuple[Tensor, None]:
        gate_TF, up_TF = self.gate_up(x_TD).chunk(2, dim=-1)
        gated_TF = F.dropout(self.activation(gate_TF) * up_TF, self.dropout, self.training)
        return self.output(gated_TF), None

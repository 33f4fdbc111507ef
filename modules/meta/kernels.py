"""Covariance functions of unit scale, batched over tasks.

Letters: B tasks (any leading dimensions), N and M points, F width of the input or feature.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Kernel(nn.Module, ABC):
    """A covariance function k with k(x, x) = 1."""

    @abstractmethod
    def forward(self, x1_BNF: Tensor, x2_BMF: Tensor) -> Tensor:
        """Covariances [B, N, M]."""


class Rbf(Kernel):
    """exp(-|x1 - x2|^2 / 2) of inputs divided by learned lengthscales, one for each dimension.

    Args:
        input_dim: F.
        lengthscale: Where the lengthscales start.
    """

    def __init__(self, input_dim: int, *, lengthscale: float = 1.0) -> None:
        super().__init__()
        self.raw_lengthscale_F = nn.Parameter(torch.full((input_dim,), inverse_softplus(lengthscale)))

    def forward(self, x1_BNF: Tensor, x2_BMF: Tensor) -> Tensor:
        lengthscale_F = F.softplus(self.raw_lengthscale_F)
        return torch.exp(-0.5 * squared_distances(x1_BNF / lengthscale_F, x2_BMF / lengthscale_F))


class DeepKernel(Kernel):
    """A kernel of learned features (deep kernel learning; few-shot in arXiv:1910.05199).

    Args:
        features: Maps inputs [B, N, X] to features [B, N, F].
        kernel: Compares the features.
    """

    def __init__(self, features: nn.Module, kernel: Kernel) -> None:
        super().__init__()
        self.features = features
        self.kernel = kernel

    def forward(self, x1_BNF: Tensor, x2_BMF: Tensor) -> Tensor:
        features_BNF = self.features(x1_BNF)
        return self.kernel(features_BNF, features_BNF if x2_BMF is x1_BNF else self.features(x2_BMF))


KernelBuilder = Callable[[int], Kernel]
"""Builds a kernel from the width of what it compares."""


def squared_distances(x1_BNF: Tensor, x2_BMF: Tensor) -> Tensor:
    """|x1 - x2|^2, [B, N, M]: one matrix product instead of N * M * F differences.

    Computed in float64: the product loses the digits of small distances, and with them the matrix its positive
    definiteness.
    """
    x1, x2 = x1_BNF.double(), x2_BMF.double()
    squares_BN1 = x1.square().sum(dim=-1, keepdim=True)
    squares_B1M = x2.square().sum(dim=-1)[..., None, :]
    return (squares_BN1 + squares_B1M - 2 * x1 @ x2.mT).clamp(min=0).to(x1_BNF.dtype)


def inverse_softplus(value: float) -> float:
    """The number whose softplus is `value` > 0."""
    return value + math.log(-math.expm1(-value))

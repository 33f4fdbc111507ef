"""Spectral mixture kernel (Wilson and Adams, arXiv:1302.4245, Eq. 12), scaled to k(x, x) = 1.

Letters: B tasks (any leading dimensions), N and M points, F width of the input or feature, C mixture components.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules.checks import check_at_least_one

from .kernels import Kernel, inverse_softplus

FREQUENCY = 0.5
"""Spread of the first frequencies of one-dimensional inputs of unit variance, in periods per unit."""


class SpectralMixture(Kernel):
    """sum_c w_c prod_f exp(-2 pi^2 t_f^2 s_cf^2) cos(2 pi t_f m_cf) with t = x1 - x2 and weights that sum to 1.

    Frequencies m start at random, so that components differ, and both they and the bandwidths s shrink with the root of
    the width: a product over 40 features would otherwise start, and stay, at zero for all but equal points.

    Args:
        input_dim: F.
        num_mixtures: C.

    Raises:
        ValueError: `num_mixtures` is below 1.
    """

    def __init__(self, input_dim: int, *, num_mixtures: int = 4) -> None:
        super().__init__()
        check_at_least_one(num_mixtures=num_mixtures)
        shrink = 1 / math.sqrt(input_dim)
        bandwidth = shrink / (2 * math.pi)  # that of an RBF whose lengthscale is sqrt(F)
        self.logits_C = nn.Parameter(torch.zeros(num_mixtures))
        self.frequency_CF = nn.Parameter(FREQUENCY * shrink * torch.randn(num_mixtures, input_dim))
        self.raw_bandwidth_CF = nn.Parameter(torch.full((num_mixtures, input_dim), inverse_softplus(bandwidth)))

    def forward(self, x1_BNF: Tensor, x2_BMF: Tensor) -> Tensor:
        difference_BNMF = x1_BNF[..., :, None, :] - x2_BMF[..., None, :, :]
        precision_CF = (2 * math.pi * F.softplus(self.raw_bandwidth_CF)).square()
        decay_BNMC = torch.exp(-0.5 * difference_BNMF.square() @ precision_CF.mT)
        wave_BNMC = torch.cos(2 * math.pi * difference_BNMF[..., None, :] * self.frequency_CF).prod(dim=-1)
        return (decay_BNMC * wave_BNMC) @ self.logits_C.softmax(dim=0)

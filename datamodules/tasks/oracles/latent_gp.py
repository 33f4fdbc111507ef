"""The latent Gaussian process of `LatentFunction`, given its exact values at the support.

Letters: S samples, B tasks, N support points, Q query points, X input width, M and P any points.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from modules.contracts import GaussianMixture, JointGaussians

from ..draws import JITTER


class LatentGp:
    """z ~ GP(0, variance * RBF(lengthscale)), with the jitter that the family draws with; all in float64.

    Args:
        support_x_BNX: Inputs.
        mask_BN: bool, which are real; filler is independent of everything.
        query_x_BQX: Inputs.
        lengthscale: In units of x.
        variance: Of z.
        noise_variance: Of the noise on what is observed at support and queries.
    """

    def __init__(
        self,
        support_x_BNX: Tensor,
        mask_BN: Tensor,
        query_x_BQX: Tensor,
        *,
        lengthscale: float,
        variance: float,
        noise_variance: float = 0.0,
    ) -> None:
        support_x_BNX, query_x_BQX = support_x_BNX.double(), query_x_BQX.double()
        self.mask_BN = mask_BN
        self.nugget = JITTER * variance + noise_variance
        self.far = 40 * max(variance, 1.0) ** 0.5  # no latent value is beyond
        self.covariance_BNN = masked(_rbf(support_x_BNX, support_x_BNX, lengthscale, variance), self.nugget, mask_BN)
        self.factor_BNN = torch.linalg.cholesky(self.covariance_BNN)
        cross_BNQ = _rbf(support_x_BNX, query_x_BQX, lengthscale, variance) * mask_BN[..., None]
        self._whitened_BNQ = torch.linalg.solve_triangular(self.factor_BNN, cross_BNQ, upper=False)
        self._gain_BNQ = torch.linalg.solve_triangular(self.factor_BNN.mT, self._whitened_BNQ, upper=True)
        self._query_BQQ = _rbf(query_x_BQX, query_x_BQX, lengthscale, variance)

    def given(
        self, values_SBN: Tensor, log_weights_SB: Tensor | None = None, *, sampled: bool = False
    ) -> GaussianMixture:
        """The queries given S weighted guesses of what is observed at the support."""
        means_SBQ1 = torch.einsum("sbn,bnq->sbq", values_SBN * self.mask_BN, self._gain_BNQ)[..., None]
        variance_BQ = self._query_BQQ.diagonal(dim1=-2, dim2=-1) - self._whitened_BNQ.square().sum(dim=-2)
        variance_BQ = variance_BQ.clamp(min=0) + self.nugget

        def joint() -> JointGaussians:
            covariance_BQQ = self._query_BQQ - self._whitened_BNQ.mT @ self._whitened_BNQ
            covariance_BQQ.diagonal(dim1=-2, dim2=-1).add_(self.nugget)
            covariances_1B1QQ = covariance_BQQ[None, :, None]
            return JointGaussians(means_SBQ1, covariances_1B1QQ, log_weights_SB, sampled=sampled)

        return GaussianMixture(means_SBQ1, variance_BQ[None, ..., None], log_weights_SB, sampled=sampled, joint=joint)


def masked(covariance_BNN: Tensor, nugget: float, mask_BN: Tensor) -> Tensor:
    """Adds the nugget, and makes filler independent with unit variance."""
    both_BNN = mask_BN[:, :, None] & mask_BN[:, None, :]
    diagonal_BN = torch.where(mask_BN, nugget, 1.0).to(covariance_BNN)
    return torch.where(both_BNN, covariance_BNN, 0.0) + torch.diag_embed(diagonal_BN)


def log_normal(whitened: Tensor) -> Tensor:
    """Log density of a standard normal distribution."""
    return -0.5 * (whitened.square() + math.log(2 * math.pi))


def _rbf(x_BMX: Tensor, x_BPX: Tensor, lengthscale: float, variance: float) -> Tensor:
    squares_BMP = (x_BMX[:, :, None] - x_BPX[:, None]).square().sum(dim=-1)
    return variance * torch.exp(-0.5 * squares_BMP / lengthscale**2)

"""Several Gaussian process priors with networks of their own, evaluated on several tasks in one call.

Letters: S particles, B tasks, N support points, M points of a task, Q query points, X input width, F feature width, Y
target width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules.contracts import GaussianMixture, JointGaussians

from .gaussian_process import JITTER, cholesky, condition, joint_covariance, log_marginal_likelihood, masked_covariance
from .kernels import squared_distances
from .stacked_perceptrons import StackedPerceptrons


class GaussianProcessParticles(nn.Module):
    """S exact GPs, each with a network as its mean and an RBF of a network's features as its kernel.

    Target dimensions are independent given a particle, each with its own scale and noise.

    Args:
        input_dim: X.
        output_dim: Y.
        num_particles: S.
        hidden_dims: Hidden widths of both networks, with tanh between.
        feature_dim: F.
        noise_floor: The least variance of the noise.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        *,
        num_particles: int,
        hidden_dims: Sequence[int],
        feature_dim: int,
        noise_floor: float,
    ) -> None:
        super().__init__()
        self.noise_floor = noise_floor
        self.mean, self.features = (
            StackedPerceptrons(
                input_dim, width, num_networks=num_particles, hidden_dims=hidden_dims, activation=torch.tanh
            )
            for width in (output_dim, feature_dim)
        )
        self.raw_lengthscale_SF = nn.Parameter(torch.zeros(num_particles, feature_dim))
        self.raw_scale_SY = nn.Parameter(torch.zeros(num_particles, output_dim))
        self.raw_noise_SY = nn.Parameter(torch.zeros(num_particles, output_dim))

    @property
    def scale_SY(self) -> Tensor:
        """Variance of each function before any support."""
        return F.softplus(self.raw_scale_SY)

    @property
    def noise_SY(self) -> Tensor:
        """Variance of the observation noise; the jitter counts as noise, in the likelihood and in predictions."""
        return F.softplus(self.raw_noise_SY) + self.noise_floor + JITTER * self.scale_SY

    def forward(self, x_BMX: Tensor, y_BMY: Tensor, mask_BM: Tensor) -> Tensor:
        """Log density of the targets of each task together under each particle, [S, B]."""
        points = self._points(x_BMX, y_BMY, mask_BM)
        return log_marginal_likelihood(points.factor_SBYNN, points.residual_SBYN, points.mask_B1N).sum(dim=-1)

    def posterior(self, x_BNX: Tensor, y_BNY: Tensor, mask_BN: Tensor, query_x_BQX: Tensor) -> GaussianMixture:
        """The equal mixture of the particles' predictives at the queries."""
        points = self._points(x_BNX, y_BNY, mask_BN)
        scale_SBYNQ = self.scale_SY[:, None, :, None, None]
        features_SBQF = self._scaled_features(query_x_BQX)
        cross_SB1NQ = _rbf(points.features_SBNF, features_SBQF)[:, :, None]
        cross_SBYNQ = torch.where(points.mask_B1N[..., None], scale_SBYNQ * cross_SB1NQ, 0.0)
        prior_SBYQ = scale_SBYNQ[..., 0].expand(*cross_SBYNQ.shape[:3], query_x_BQX.shape[1])
        given = condition(points.factor_SBYNN, cross_SBYNQ, prior_SBYQ, points.residual_SBYN)
        means_SBQY = self._run(self.mean, query_x_BQX) + given.mean_BQ.mT
        noise_SBYQ = self.noise_SY[:, None, :, None].expand_as(prior_SBYQ)

        def joint() -> JointGaussians:
            prior_SBYQQ = scale_SBYNQ * _rbf(features_SBQF, features_SBQF)[:, :, None]
            covariance_SBYQQ = joint_covariance(points.factor_SBYNN, cross_SBYNQ, prior_SBYQQ)
            return JointGaussians(means_SBQY, covariance_SBYQQ + torch.diag_embed(noise_SBYQ))

        return GaussianMixture(means_SBQY, (given.variance_BQ + noise_SBYQ).mT, joint=joint)

    def _points(self, x_BNX: Tensor, y_BNY: Tensor, mask_BN: Tensor) -> _Points:
        mask_BN1, mask_B1N = mask_BN[..., None], mask_BN[:, None]
        x_BNX = torch.where(mask_BN1, x_BNX, 0.0)  # a far filler point would cost the others their digits
        features_SBNF = self._scaled_features(x_BNX)
        kernel_SBYNN = self.scale_SY[:, None, :, None, None] * _rbf(features_SBNF, features_SBNF)[:, :, None]
        noise_SBYN = (self.noise_SY - JITTER * self.scale_SY)[:, None, :, None]  # the covariance brings it
        factor_SBYNN = cholesky(masked_covariance(kernel_SBYNN, noise_SBYN, mask_B1N))
        residual_SBYN = torch.where(mask_BN1, y_BNY - self._run(self.mean, x_BNX), 0.0).mT
        return _Points(features_SBNF, factor_SBYNN, residual_SBYN, mask_B1N)

    def _scaled_features(self, x_BNX: Tensor) -> Tensor:
        """What the kernels compare, in lengthscales, [S, B, N, F]."""
        return self._run(self.features, x_BNX) / F.softplus(self.raw_lengthscale_SF)[:, None, None]

    def _run(self, networks: StackedPerceptrons, x_BNX: Tensor) -> Tensor:
        """Outputs [S, B, N, ...] of every network for the points of all tasks."""
        x_SKX = x_BNX.flatten(0, 1).expand(len(self.raw_scale_SY), -1, -1)
        return networks(x_SKX).unflatten(1, x_BNX.shape[:2])


def _rbf(features1_SBNF: Tensor, features2_SBMF: Tensor) -> Tensor:
    return torch.exp(-0.5 * squared_distances(features1_SBNF, features2_SBMF))


class _Points(NamedTuple):
    """What GPs keep of the points that they are conditioned on."""

    features_SBNF: Tensor
    factor_SBYNN: Tensor
    residual_SBYN: Tensor
    mask_B1N: Tensor

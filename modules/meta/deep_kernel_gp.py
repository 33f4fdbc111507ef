"""Gaussian process whose kernel, or mean, or both, are networks shared by all tasks.

Deep kernel transfer (arXiv:1910.05199) is `DeepKernelGP()`; deep mean functions (arXiv:1901.08098) and the maximum
likelihood class of PACOH (arXiv:2002.05551) are settings of it. Exact, batched over tasks, one Cholesky factor a task.

Letters: B tasks, N support points, M points of a task, Q query points, X input width, F feature width, Y target width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from modules.checks import check_at_least_one
from modules.contracts import FewShotLearner, FewShotTasks, GaussianMixture, JointGaussians

from .gaussian_process import JITTER, cholesky, condition, joint_covariance, log_marginal_likelihood, masked_covariance
from .kernels import KernelBuilder, Rbf, inverse_softplus
from .networks import Constant, MultilayerPerceptron


class DeepKernelGP(FewShotLearner):
    """Exact GP with hyperparameters shared by all tasks, trained on the joint marginal likelihood of a task's points.

    Target dimensions are independent, each with its own scale and noise, and share the kernel of unit scale.

    Args:
        input_dim: X.
        output_dim: Y.
        deep_kernel: Whether the kernel compares learned features; else the inputs themselves.
        deep_mean: Whether the prior mean is a network; else a constant.
        kernel: Builds the kernel from the width of what it compares; None: `Rbf`.
        network: Builds the networks of features and mean from their input and output widths; None: 40-40 with ReLU.
        feature_dim: F.
        noise: Variance of the noise at the start, in scaled units.
        noise_floor: The least variance of the noise, in scaled units.

    Raises:
        ValueError: A width or a variance is not positive, `noise` is not above its floor, or a network is given that
            nothing uses.
    """

    def __init__(
        self,
        input_dim: int = 1,
        output_dim: int = 1,
        *,
        deep_kernel: bool = True,
        deep_mean: bool = False,
        kernel: KernelBuilder | None = None,
        network: Callable[[int, int], nn.Module] | None = None,
        feature_dim: int = 10,
        noise: float = 0.01,
        noise_floor: float = 1e-4,
    ) -> None:
        super().__init__(input_dim, output_dim)
        check_at_least_one(feature_dim=feature_dim)
        if not 0 < noise_floor < noise:
            raise ValueError(f"noise_floor={noise_floor} must lie between 0 and noise={noise}")
        if network is not None and not (deep_kernel or deep_mean):
            raise ValueError("network has no effect with deep_kernel=false and deep_mean=false: remove it or set one")
        build = network or MultilayerPerceptron
        self.noise_floor = noise_floor
        self.feature_dim = feature_dim if deep_kernel else input_dim
        self.features = build(input_dim, feature_dim) if deep_kernel else nn.Identity()
        self.mean = build(input_dim, output_dim) if deep_mean else Constant(input_dim, output_dim)
        self.kernel = (kernel or Rbf)(self.feature_dim)
        self.raw_scale_Y = nn.Parameter(torch.full((output_dim,), inverse_softplus(1.0)))
        self.raw_noise_Y = nn.Parameter(torch.full((output_dim,), inverse_softplus(noise - noise_floor)))

    @property
    def scale_Y(self) -> Tensor:
        """Variance of the function before any support, [Y]."""
        return F.softplus(self.raw_scale_Y)

    @property
    def noise_Y(self) -> Tensor:
        """Variance of the observation noise, [Y]; the jitter counts as noise, in the likelihood and in predictions."""
        return F.softplus(self.raw_noise_Y) + self.noise_floor + JITTER * self.scale_Y

    def loss(self, tasks: FewShotTasks, generator: Generator | None = None) -> Tensor:
        x_BMX, y_BMY, mask_BM = tasks.points()
        return -(self.log_likelihood(x_BMX, y_BMY, mask_BM) / mask_BM.sum(dim=1).clamp(min=1)).mean()

    def log_likelihood(self, x_BMX: Tensor, y_BMY: Tensor, mask_BM: Tensor) -> Tensor:
        """Log density of the targets of each task together, [B]."""
        support = self._support(x_BMX, y_BMY, mask_BM)
        return log_marginal_likelihood(support.factor_BYNN, support.residual_BYN, support.mask_B1N).sum(dim=1)

    def predict(
        self,
        support_x: Tensor,
        support_y: Tensor,
        support_mask: Tensor,
        query_x: Tensor,
        *,
        num_samples: int = 1000,
        generator: Generator | None = None,
    ) -> GaussianMixture:
        """One Gaussian at each query, in closed form."""
        support = self._support(support_x, support_y, support_mask)
        features_BQF = self.features(query_x)
        cross_B1NQ = self.kernel(support.features_BNF, features_BQF)[:, None]
        cross_BYNQ = torch.where(support.mask_B1N[..., None], self.scale_Y[:, None, None] * cross_B1NQ, 0.0)
        prior_BYQ = self.scale_Y[:, None].expand(*cross_BYNQ.shape[:2], query_x.shape[1])
        posterior = condition(support.factor_BYNN, cross_BYNQ, prior_BYQ, support.residual_BYN)
        means_SBQY = (self.mean(query_x) + posterior.mean_BQ.mT)[None]

        def joint() -> JointGaussians:
            prior_BYQQ = self.scale_Y[:, None, None] * self.kernel(features_BQF, features_BQF)[:, None]
            covariance_BYQQ = joint_covariance(support.factor_BYNN, cross_BYNQ, prior_BYQQ)
            noise_YQ = self.noise_Y[:, None].expand(-1, query_x.shape[1])
            return JointGaussians(means_SBQY, (covariance_BYQQ + torch.diag_embed(noise_YQ))[None])

        return GaussianMixture(means_SBQY, (posterior.variance_BQ.mT + self.noise_Y)[None], joint=joint)

    def _support(self, x_BNX: Tensor, y_BNY: Tensor, mask_BN: Tensor) -> _Support:
        mask_BN1 = mask_BN[..., None]
        x_BNX = torch.where(mask_BN1, x_BNX, 0.0)  # a far filler point would cost the others their digits
        features_BNF = self.features(x_BNX)
        kernel_BYNN = self.scale_Y[:, None, None] * self.kernel(features_BNF, features_BNF)[:, None]
        noise_Y1 = (self.noise_Y - JITTER * self.scale_Y)[:, None]  # the covariance brings at least that along
        covariance_BYNN = masked_covariance(kernel_BYNN, noise_Y1, mask_BN[:, None])
        residual_BYN = torch.where(mask_BN1, y_BNY - self.mean(x_BNX), 0.0).mT
        return _Support(features_BNF, cholesky(covariance_BYNN), residual_BYN, mask_BN[:, None])


class _Support(NamedTuple):
    """What a GP keeps of the points it is conditioned on."""

    features_BNF: Tensor
    factor_BYNN: Tensor
    residual_BYN: Tensor
    mask_B1N: Tensor

"""Gaussian process prior of the latents of a task (arXiv:2110.11044).

Letters: B tasks, N support points, M points, Q query points, X input width, J latents, S samples.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from .coregionalization import Coregionalization, Independent
from .gaussian_process import cholesky, joint_covariance, masked_covariance
from .kernels import Kernel


class Regression(NamedTuple):
    """Independent processes z' at the queries, given noisy values of theirs at the support.

    Attributes:
        gain_BJNQ: The mean of z' at a query is the sum over the support of gain times the values there.
        spread: What is left to chance: standard deviations [B, J, Q], or Cholesky factors [B, J, Q, Q] (joint).
    """

    gain_BJNQ: Tensor
    spread: Tensor

    def mean(self, values_BJN: Tensor) -> Tensor:
        """Means of z', [B, Q, J], given `values_BJN`, or those of S sets [S, B, J, N] of them."""
        return (values_BJN[..., None, :] @ self.gain_BJNQ)[..., 0, :].mT

    def draw(self, values_BJN: Tensor, num_samples: int, generator: Generator | None) -> Tensor:
        """Draws of z', [S, B, Q, J], given `values_BJN`, or S sets [S, B, J, N] of them."""
        mean = self.mean(values_BJN)
        num_tasks, num_latents, _, num_queries = self.gain_BJNQ.shape
        if self.spread.ndim == 3:
            shape = (num_samples, num_tasks, num_queries, num_latents)
            return mean + normal(shape, mean, generator) * self.spread.mT
        noise = normal((num_samples, num_tasks, num_latents, num_queries, 1), mean, generator)
        return mean + (self.spread @ noise)[..., 0].mT


class LatentPrior(nn.Module):
    """vec(Z) ~ N(mean(X), R(X, X) (x) B + I (x) D); white noise is part of the latents.

    Args:
        kernel: R, of unit scale.
        mean: Maps inputs [B, M, X] to means [B, M, J].
        latents: B and D.
    """

    def __init__(self, kernel: Kernel, *, mean: nn.Module, latents: Coregionalization) -> None:
        super().__init__()
        self.kernel = kernel
        self.mean = mean
        self.latents = latents

    def regress(
        self,
        support_x: Tensor,
        support_mask: Tensor,
        query_x: Tensor,
        *,
        form: Independent,
        site_variance_BJN: Tensor | float = 0.0,
        joint: bool = False,
    ) -> Regression:
        """How z' at the queries follows from values of z' at the support, known up to noise of `site_variance_BJN`.

        Args:
            support_x: float[B, N, X].
            support_mask: bool[B, N].
            query_x: float[B, Q, X].
            form: `self.latents.independent()`.
            site_variance_BJN: Variance of the noise in the values, beside the white noise of the prior.
            joint: Whether the queries of a task hang together.
        """
        scale_J11, noise_J1 = form.scale_J[:, None, None], form.noise_J[:, None]
        kernel_BJNN = scale_J11 * self.kernel(support_x, support_x)[:, None]
        covariance_BJNN = masked_covariance(kernel_BJNN, noise_J1 + site_variance_BJN, support_mask[:, None])
        factor_BJNN = cholesky(covariance_BJNN)
        cross_BJNQ = scale_J11 * (self.kernel(support_x, query_x) * support_mask[..., None])[:, None]
        half_BJNQ = torch.linalg.solve_triangular(factor_BJNN, cross_BJNQ, upper=False)
        gain_BJNQ = torch.linalg.solve_triangular(factor_BJNN.mT, half_BJNQ, upper=True)
        if joint:
            prior_BJQQ = scale_J11 * self.kernel(query_x, query_x)[:, None]
            smooth_BJQQ = joint_covariance(factor_BJNN, cross_BJNQ, prior_BJQQ)
            everyone = torch.ones((), dtype=torch.bool, device=query_x.device).expand(query_x.shape[:2])[:, None]
            return Regression(gain_BJNQ, cholesky(masked_covariance(smooth_BJQQ, noise_J1, everyone)))
        smooth_BJQ = (form.scale_J[:, None] - half_BJNQ.square().sum(dim=-2)).clamp(min=0)
        return Regression(gain_BJNQ, (smooth_BJQ + noise_J1).sqrt())

    def draw(self, x_BMX: Tensor, mask_BM: Tensor, num_samples: int, generator: Generator | None) -> Tensor:
        """Joint draws [S, B, M, J] of the latents at some points."""
        process = smooth_process(self.kernel(x_BMX, x_BMX), mask_BM, self.latents)
        return self.mean(x_BMX) + process.draw(num_samples, generator)


class SmoothProcess(NamedTuple):
    """Zero-mean latents of B tasks at M points, with covariance kernel (x) B + I (x) D.

    Drawn as sums of smooth and white parts: one Cholesky factor a task, and no eigenvectors, whose gradients would be
    noisy.

    Attributes:
        factor_BMM: Cholesky factor of the kernel matrix.
        latents: B and D.
    """

    factor_BMM: Tensor
    latents: Coregionalization

    def draw(self, num_samples: int, generator: Generator | None) -> Tensor:
        """Joint draws [S, B, M, J]."""
        num_latents, rank = self.latents.loadings_JK.shape
        shape = (num_samples, *self.factor_BMM.shape[:-1])
        smooth = self.factor_BMM @ normal((*shape, rank + num_latents), self.factor_BMM, generator)
        white = normal((*shape, num_latents), self.factor_BMM, generator)
        return self.latents.draw(smooth[..., :rank], smooth[..., rank:], white)


def smooth_process(kernel_BMM: Tensor, mask_BM: Tensor, latents: Coregionalization) -> SmoothProcess:
    """Factorises the kernel matrix among real points, once for all draws."""
    covariance_BMM = masked_covariance(kernel_BMM, kernel_BMM.new_zeros(()), mask_BM)
    return SmoothProcess(cholesky(covariance_BMM), latents)


def normal(shape: tuple[int, ...], like: Tensor, generator: Generator | None) -> Tensor:
    """Standard normal numbers, of the dtype and on the device of `like`."""
    return torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)

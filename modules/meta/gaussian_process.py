"""Exact Gaussian process algebra on batches of small tasks: what all GP learners here share.

One Cholesky factor a task (and latent), no joint covariance of the queries, no loop. Filler points (mask False) are
made independent of all others, with unit variance and no residual, so that they add nothing to any result.

Letters: B leading dimensions (tasks, latents), N support points, Q query points, S samples.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

JITTER = 1e-6
"""Times the scale of a kernel, added to its diagonal, and n / 100 times as much for n > 100 points: what rounding to
float32 may take from the least eigenvalue of an RBF of clustered points."""


class Conditioned(NamedTuple):
    """A GP at the query points, given its support.

    Attributes:
        mean_BQ: Posterior mean.
        variance_BQ: Posterior variance, without observation noise, at least 0.
    """

    mean_BQ: Tensor
    variance_BQ: Tensor


def masked_covariance(kernel_BNN: Tensor, noise_BN: Tensor, mask_BN: Tensor) -> Tensor:
    """`kernel_BNN` + diag(`noise_BN` + jitter) among real points; filler rows are those of the identity matrix.

    Args:
        kernel_BNN: Kernel matrix, scale included.
        noise_BN: Variance of the noise at each point, of any shape that broadcasts to it.
        mask_BN: bool, which points are real, of any shape that broadcasts.
    """
    both_BNN = mask_BN[..., :, None] & mask_BN[..., None, :]
    scale_BN = kernel_BNN.diagonal(dim1=-2, dim2=-1)
    jitter_B1 = JITTER * (mask_BN.sum(dim=-1, keepdim=True) / 100).clamp(min=1)
    diagonal_BN = torch.where(mask_BN, noise_BN + jitter_B1 * scale_BN, 1.0)
    return torch.where(both_BNN, kernel_BNN, 0.0) + torch.diag_embed(diagonal_BN)


def cholesky(covariance_BNN: Tensor) -> Tensor:
    """Cholesky factors, computed in float64: in float32 hundreds of close points need far more than the jitter.

    For the small matrices of few-shot tasks it takes about as long.
    """
    return torch.linalg.cholesky(covariance_BNN.double()).to(covariance_BNN.dtype)


def log_marginal_likelihood(factor_BNN: Tensor, residual_BN: Tensor, mask_BN: Tensor) -> Tensor:
    """log N(residual; 0, L L^T) over the real points, [B]; residuals of filler must be 0."""
    whitened_BN1 = torch.linalg.solve_triangular(factor_BNN, residual_BN[..., None], upper=False)
    log_determinant_B = 2 * factor_BNN.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
    num_points_B = mask_BN.sum(dim=-1).to(residual_BN)
    return -0.5 * (whitened_BN1.square().sum(dim=(-2, -1)) + log_determinant_B + num_points_B * math.log(2 * math.pi))


def condition(factor_BNN: Tensor, cross_BNQ: Tensor, prior_variance_BQ: Tensor, residual_BN: Tensor) -> Conditioned:
    """Posterior of the queries (Rasmussen and Williams 2006, Algorithm 2.1), with a zero prior mean.

    Args:
        factor_BNN: Cholesky factor of the support's covariance, noise included.
        cross_BNQ: Covariance of support and queries; rows of filler must be 0.
        prior_variance_BQ: Variance of each query before the support is seen.
        residual_BN: Support targets less their prior mean; 0 for filler.
    """
    both = torch.cat([cross_BNQ, residual_BN[..., None].expand(*cross_BNQ.shape[:-1], 1)], dim=-1)
    solved = torch.linalg.solve_triangular(factor_BNN, both, upper=False)
    gain_BNQ, whitened_BN1 = solved[..., :-1], solved[..., -1:]
    mean_BQ = (gain_BNQ.mT @ whitened_BN1)[..., 0]
    variance_BQ = (prior_variance_BQ - gain_BNQ.square().sum(dim=-2)).clamp(min=0)
    return Conditioned(mean_BQ, variance_BQ)


def joint_covariance(factor_BNN: Tensor, cross_BNQ: Tensor, prior_BQQ: Tensor) -> Tensor:
    """Posterior covariance [B, Q, Q] of the queries together, without observation noise; for few queries."""
    gain_BNQ = torch.linalg.solve_triangular(factor_BNN, cross_BNQ, upper=False)
    return prior_BQQ - gain_BNQ.mT @ gain_BNQ

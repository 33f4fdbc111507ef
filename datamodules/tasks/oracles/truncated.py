"""Weighted draws of many small Gaussian vectors, each known to lie in a box.

Gibbs sampling stalls where close points lie on two sides of an edge. Here each coordinate is drawn in turn, from its
distribution given those before it and, by Gaussian stand-ins from expectation propagation (Minka 2001), those after it;
importance weights make it exact. The draws are independent, so that their Monte-Carlo error is known.

Letters: S samples, B vectors, N coordinates.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from .latent_gp import log_normal

SWEEPS = 20
DAMPING = 0.7
PRECISIONS = (1e-8, 1e8)  # of a stand-in; beyond, it says nothing or all
HEEDED = 0.8
"""Stand-ins are heeded a little less than they say, so that draws reach what Gaussians leave out."""
FAR_TAIL = 30.0  # in standard deviations; the distribution function underflows at 37


def truncated_draws(
    covariance_BNN: Tensor, low_BN: Tensor, high_BN: Tensor, num_samples: int, generator: Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Draws of N(0, covariance) between `low` and `high`.

    Args:
        covariance_BNN: float64.
        low_BN: Lower edges, finite: take many standard deviations for none.
        high_BN: Upper edges.
        num_samples: S.
        generator: Source of the draws.

    Returns:
        Draws [S, B, N], and their log weights [S, B], whose mean in the box is the log of its probability.
    """
    factor_BNN = torch.linalg.cholesky(covariance_BNN)
    precision_BN, target_BN = (HEEDED * value for value in stand_ins(covariance_BNN, low_BN, high_BN))
    num_tasks, num_coordinates = low_BN.shape
    uniforms_SBN = torch.rand(
        (num_samples, *low_BN.shape), generator=generator, dtype=low_BN.dtype, device=low_BN.device
    )
    draws_SBN = low_BN.new_zeros(num_samples, num_tasks, num_coordinates)
    whitened_SBN = torch.zeros_like(draws_SBN)
    log_weights_SB = low_BN.new_zeros(num_samples, num_tasks)
    for k in range(num_coordinates):
        mean_SB, sd_B = _ahead(covariance_BNN, precision_BN, target_BN, draws_SBN[..., :k])
        low_SB, high_SB = (low_BN[:, k] - mean_SB) / sd_B, (high_BN[:, k] - mean_SB) / sd_B
        standard_SB = _between(low_SB, high_SB, uniforms_SBN[..., k])
        draws_SBN[..., k] = torch.minimum(torch.maximum(mean_SB + sd_B * standard_SB, low_BN[:, k]), high_BN[:, k])
        drawn_SB = log_normal(standard_SB) - sd_B.log() - log_mass(low_SB, high_SB)
        prior_SB = torch.einsum("sbk,bk->sb", whitened_SBN[..., :k], factor_BNN[:, k, :k])
        whitened_SBN[..., k] = (draws_SBN[..., k] - prior_SB) / factor_BNN[:, k, k]
        log_weights_SB += log_normal(whitened_SBN[..., k]) - factor_BNN[:, k, k].log() - drawn_SB
    return draws_SBN, log_weights_SB


def stand_ins(covariance_BNN: Tensor, low_BN: Tensor, high_BN: Tensor) -> tuple[Tensor, Tensor]:
    """A Gaussian in place of each coordinate's interval, by parallel expectation propagation.

    Returns:
        Its precision [B, N], and its mean times that.
    """
    precision_BN, target_BN = torch.full_like(low_BN, PRECISIONS[0]), torch.zeros_like(low_BN)
    for _ in range(SWEEPS):
        mean_BN, covariance = _posterior(covariance_BNN, precision_BN, target_BN)
        variance_BN = covariance.diagonal(dim1=-2, dim2=-1).clamp(min=1e-12)
        cavity_BN = (1 / variance_BN - precision_BN).clamp(min=1e-8)
        centre_BN = (mean_BN / variance_BN - target_BN) / cavity_BN
        new_mean_BN, new_variance_BN = _truncated_moments(centre_BN, 1 / cavity_BN, low_BN, high_BN)
        new_precision_BN = (1 / new_variance_BN - cavity_BN).clamp(*PRECISIONS)
        new_target_BN = new_mean_BN * (new_precision_BN + cavity_BN) - centre_BN * cavity_BN
        precision_BN = precision_BN + DAMPING * (new_precision_BN - precision_BN)
        target_BN = target_BN + DAMPING * (new_target_BN - target_BN)
    return precision_BN, target_BN


def log_mass(low: Tensor, high: Tensor) -> Tensor:
    """log(Phi(high) - Phi(low)), with all digits in both tails."""
    low, high, _ = _to_lower_tail(low, high)
    upper, lower = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
    return upper + torch.log(-torch.expm1((lower - upper).clamp(max=-1e-300)))


def _posterior(covariance_BNN: Tensor, precision_BN: Tensor, target_BN: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of N(0, covariance) times Gaussians of the given precisions."""
    factor = torch.linalg.cholesky(covariance_BNN + torch.diag_embed(1 / precision_BN))
    whitened = torch.linalg.solve_triangular(factor, covariance_BNN, upper=False)
    residual = torch.linalg.solve_triangular(factor, (target_BN / precision_BN)[..., None], upper=False)
    return (whitened.mT @ residual)[..., 0], covariance_BNN - whitened.mT @ whitened


def _ahead(covariance_BNN: Tensor, precision_BN: Tensor, target_BN: Tensor, draws_SBK: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [S, B] and standard deviation [B] of coordinate k, given draws of those before and stand-ins after it."""
    k = draws_SBK.shape[-1]
    after_N = torch.arange(covariance_BNN.shape[-1], device=covariance_BNN.device) > k
    mean_BN, covariance = _posterior(
        covariance_BNN, torch.where(after_N, precision_BN, PRECISIONS[0]), torch.where(after_N, target_BN, 0.0)
    )
    nugget_B = 1e-10 * covariance_BNN.diagonal(dim1=-2, dim2=-1).amax(dim=-1)
    covariance = covariance[:, : k + 1, : k + 1] + torch.diag_embed(nugget_B[:, None].expand(-1, k + 1))
    factor = torch.linalg.cholesky(covariance)
    residual_BKS = (draws_SBK - mean_BN[:, :k]).permute(1, 2, 0)
    whitened_BKS = torch.linalg.solve_triangular(factor[:, :k, :k], residual_BKS, upper=False)
    mean_SB = mean_BN[:, k] + torch.einsum("bk,bks->sb", factor[:, k, :k], whitened_BKS)
    return mean_SB, factor[:, k, k]


def _between(low: Tensor, high: Tensor, uniforms: Tensor) -> Tensor:
    """Standard normal draws between two edges, by the inverse of the distribution function."""
    tail_low, tail_high, flip = _to_lower_tail(low, high)
    lower, upper = torch.special.log_ndtr(tail_low).exp(), torch.special.log_ndtr(tail_high).exp()  # ndtr loses tails
    draws = torch.special.ndtri(lower + uniforms * (upper - lower))
    rate = -tail_high.clamp(max=-FAR_TAIL)  # there the density falls off as an exponential one
    beyond = torch.log1p(uniforms * torch.expm1(-rate * (tail_high - tail_low))) / rate
    draws = torch.where(tail_high < -FAR_TAIL, tail_high + beyond, draws)
    draws = torch.minimum(torch.maximum(draws, tail_low), tail_high)
    return torch.where(flip, -draws, draws)


def _to_lower_tail(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    flip = low + high > 0
    return torch.where(flip, -high, low), torch.where(flip, -low, high), flip


def _truncated_moments(mean: Tensor, variance: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    sd = variance.sqrt()
    low_edge, high_edge = (low - mean) / sd, (high - mean) / sd
    mass = log_mass(low_edge, high_edge)
    at_low, at_high = (log_normal(low_edge) - mass).exp(), (log_normal(high_edge) - mass).exp()
    shift = at_low - at_high
    shrink = 1 + low_edge * at_low - high_edge * at_high - shift.square()
    new_mean = torch.minimum(torch.maximum(mean + sd * shift, low), high)
    return new_mean, variance * shrink.nan_to_num(1.0).clamp(1e-6, 1.0)

"""The predictive distribution of most learners: a mixture of Gaussians at each query.

One component is a Gaussian process; many are an ensemble, the draws of a latent variable, or the weighted particles of
an oracle.

Letters: S components, B tasks, Q query points, Y target width, P probabilities, D draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from .predictive import Estimate, Predictive, check_joint, log_mean

BISECTIONS = 60


class GaussianMixture(Predictive):
    """S Gaussians at each query.

    Given its component, the queries of a task are independent, unless `joint` says otherwise.

    Args:
        means_SBQY: Means of the components.
        variances_SBQY: Their variances, positive, of any shape that broadcasts to the means.
        log_weights: [S, B], weights of the components, the same for all queries of a task; [S, B, Q], weights of each
            query's own, which makes the queries independent; None: equal weights. Normalised here.
        sampled: Whether the components are Monte-Carlo draws, so that densities have an error.
        joint: Makes the joint distribution of the queries when somebody asks for it.
    """

    def __init__(
        self,
        means_SBQY: Tensor,
        variances_SBQY: Tensor,
        log_weights: Tensor | None = None,
        *,
        sampled: bool = False,
        joint: Callable[[], JointGaussians | GaussianMixture] | None = None,
    ) -> None:
        num_components, num_tasks = means_SBQY.shape[:2]
        if log_weights is None:
            log_weights = means_SBQY.new_full((num_components, num_tasks), -math.log(num_components))
        self.means_SBQY = means_SBQY
        self.variances_SBQY = variances_SBQY
        self.log_weights = log_weights.log_softmax(dim=0)
        self.sampled = sampled
        self._joint = joint

    @property
    def mean(self) -> Tensor:  # type: ignore[override]
        return (self._weights_SBQ().exp()[..., None] * self.means_SBQY).sum(dim=0)

    def log_prob(self, y: Tensor) -> Estimate:
        return _mixed(self._component_log_prob(y), self._weights_SBQ(), self.sampled)

    def joint_log_prob(self, y: Tensor, mask: Tensor | None = None) -> Estimate:
        check_joint(y.shape[1])
        if self._joint is not None:
            return self._joint().joint_log_prob(y, mask)
        keep_BQ = y.new_ones(y.shape[:2]) if mask is None else mask.to(y)
        if self.log_weights.ndim == 3:
            value, error = self.log_prob(y)
            return Estimate((value * keep_BQ).sum(dim=1), (error * keep_BQ).square().sum(dim=1).sqrt())
        return _mixed((self._component_log_prob(y) * keep_BQ).sum(dim=2), self.log_weights, self.sampled)

    def log_mass(self, low: Tensor, high: Tensor) -> Estimate:
        sd = self.variances_SBQY.sqrt()
        masses = _log_normal_mass((low - self.means_SBQY) / sd, (high - self.means_SBQY) / sd).sum(dim=-1)
        return _mixed(masses, self._weights_SBQ(), self.sampled)

    def cdf(self, y: Tensor) -> Tensor:
        scores_SBQY = (y - self.means_SBQY) / self.variances_SBQY.sqrt()
        below_SBQY = 0.5 * torch.erfc(-scores_SBQY / math.sqrt(2))  # `ndtr` would lose the digits of the lower tail
        return (self._weights_SBQ().exp()[..., None] * below_SBQY).sum(dim=0)

    def quantile(self, probabilities: Tensor) -> Tensor:
        margin = (8.5 * self.variances_SBQY.sqrt()).expand_as(self.means_SBQY)
        lowest, highest = (self.means_SBQY - margin).amin(dim=0), (self.means_SBQY + margin).amax(dim=0)
        return torch.stack([self._bisect(float(p), lowest, highest) for p in probabilities])

    def _bisect(self, probability: float, low: Tensor, high: Tensor) -> Tensor:
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            below = self.cdf(middle) < probability
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def sample(self, num_samples: int, *, joint: bool = False, generator: Generator | None = None) -> Tensor:
        if joint:
            check_joint(self.means_SBQY.shape[2])
        if joint and self._joint is not None:
            return self._joint().sample(num_samples, joint=True, generator=generator)
        chosen = choose_components(self.log_weights, num_samples, generator)  # [D, B] or [D, B, Q]
        index = (chosen[..., None] if chosen.ndim == 3 else chosen[..., None, None]).expand(
            num_samples, *self.means_SBQY.shape[1:]
        )
        means = self.means_SBQY.gather(0, index)
        variances = self.variances_SBQY
        if variances.ndim == 4 and variances.shape[0] > 1:
            variances = variances.expand_as(self.means_SBQY).gather(0, index)
        noise = torch.randn(means.shape, generator=generator, dtype=means.dtype, device=means.device)
        return means + variances.sqrt() * noise

    def _weights_SBQ(self) -> Tensor:
        return self.log_weights if self.log_weights.ndim == 3 else self.log_weights[..., None]

    def _component_log_prob(self, y_BQY: Tensor) -> Tensor:
        """Log density of each component, [S, B, Q]."""
        squares = (y_BQY - self.means_SBQY).square() / self.variances_SBQY
        logs = (2 * math.pi * self.variances_SBQY).log()
        return -0.5 * (squares + logs).sum(dim=-1)


class JointGaussians:
    """The queries of a task together, in each component one Gaussian with a full covariance for each target dimension.

    Args:
        means_SBQY: Means.
        covariances_SBYQQ: Covariances of the queries, positive definite, of any leading shape that broadcasts to the
            means; target dimensions are independent.
        log_weights_SB: Weights of the components; None: equal. Normalised here.
        sampled: As in `GaussianMixture`.
    """

    def __init__(
        self,
        means_SBQY: Tensor,
        covariances_SBYQQ: Tensor,
        log_weights_SB: Tensor | None = None,
        *,
        sampled: bool = False,
    ) -> None:
        if log_weights_SB is None:
            log_weights_SB = means_SBQY.new_zeros(means_SBQY.shape[:2])
        self.means_SBQY = means_SBQY
        self.covariances_SBYQQ = covariances_SBYQQ
        self.log_weights_SB = log_weights_SB.log_softmax(dim=0)
        self.sampled = sampled

    def joint_log_prob(self, y: Tensor, mask: Tensor | None = None) -> Estimate:
        keep_BQ = torch.ones(y.shape[:2], dtype=torch.bool, device=y.device) if mask is None else mask
        both_BQQ = keep_BQ[:, None, :] & keep_BQ[:, :, None]
        eye = torch.eye(y.shape[1], dtype=y.dtype, device=y.device)
        covariances = torch.where(both_BQQ[:, None], self.covariances_SBYQQ, eye)  # a query left out adds nothing
        factors = torch.linalg.cholesky(covariances)
        residuals_SBYQ1 = ((y - self.means_SBQY) * keep_BQ[..., None]).mT[..., None]
        whitened = torch.linalg.solve_triangular(factors, residuals_SBYQ1, upper=False)[..., 0]
        log_determinants = 2 * factors.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
        log_norm_B = math.log(2 * math.pi) * keep_BQ.sum(dim=1).to(y)
        logs_SBY = -0.5 * (whitened.square().sum(dim=-1) + log_determinants + log_norm_B[:, None])
        return _mixed(logs_SBY.sum(dim=-1), self.log_weights_SB, self.sampled)

    def sample(self, num_samples: int, *, joint: bool = True, generator: Generator | None = None) -> Tensor:
        """Draws [D, B, Q, Y], joint whatever is asked."""
        factors = torch.linalg.cholesky(self.covariances_SBYQQ)
        factors = factors.expand(*self.means_SBQY.mT.shape, -1)
        chosen_DB = choose_components(self.log_weights_SB, num_samples, generator)
        tasks_B = torch.arange(chosen_DB.shape[1], device=chosen_DB.device)
        means_DBQY, factors_DBYQQ = self.means_SBQY[chosen_DB, tasks_B], factors[chosen_DB, tasks_B]
        noise = torch.randn(means_DBQY.mT.shape, generator=generator, dtype=factors.dtype, device=factors.device)
        return means_DBQY + (factors_DBYQQ @ noise[..., None])[..., 0].mT


def choose_components(log_weights: Tensor, num_draws: int, generator: Generator | None) -> Tensor:
    """Independent components [D, B] or [D, B, Q], drawn with the probabilities exp(`log_weights`).

    Draws that divide the components more evenly would be closer to the mixture, but scores of pairs of draws (CRPS,
    energy) take them for independent.

    Args:
        log_weights: [S, B], weights of each task; [S, B, Q], weights of each query, whose choices are independent.
        num_draws: D.
        generator: Source of random numbers.
    """
    num_components, *rest = log_weights.shape
    edges = log_weights.exp().cumsum(dim=0).movedim(0, -1).contiguous()
    uniforms = torch.rand((*rest, num_draws), generator=generator, dtype=edges.dtype, device=edges.device)
    chosen = torch.searchsorted(edges, uniforms * edges[..., -1:], right=True).clamp(max=num_components - 1)
    return chosen.movedim(-1, 0)


def _mixed(logs: Tensor, log_weights: Tensor, sampled: bool) -> Estimate:
    """`log_mean`, which is exact if the components are no draws."""
    value, error = log_mean(logs, log_weights)
    return Estimate(value, error if sampled else torch.zeros_like(value))


def _log_normal_mass(low: Tensor, high: Tensor) -> Tensor:
    """log(Phi(high) - Phi(low)), exact in both tails."""
    flip = low + high > 0  # the lower tail keeps its digits
    low, high = torch.where(flip, -high, low), torch.where(flip, -low, high)
    upper, lower = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
    return upper + torch.log(-torch.expm1(lower - upper))

"""The predictive of a latent mixture that is folded at zero: y = |z| or z^2.

Letters: as in `GaussianMixture`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from modules.contracts import Estimate, GaussianMixture, Predictive, check_joint

BISECTIONS = 60


class Folded(Predictive):
    """y = |z| ** power.

    Args:
        latent: Of z, with one target dimension; its components are no draws.
        power: 1 or 2.
        joint_log_prob: Log density [B] of |z| at all queries together, given |z| [B, Q] and which queries count.
    """

    def __init__(
        self, latent: GaussianMixture, power: int, *, joint_log_prob: Callable[[Tensor, Tensor], Tensor]
    ) -> None:
        self.latent = latent
        self.power = power
        self._joint_log_prob = joint_log_prob

    @property
    def mean(self) -> Tensor:  # type: ignore[override]
        means, variances = self.latent.means_SBQY, self.latent.variances_SBQY
        if self.power == 2:
            folded = means.square() + variances
        else:
            ratio = means / variances.sqrt()
            tails = math.sqrt(2 / math.pi) * torch.exp(-0.5 * ratio.square())
            folded = variances.sqrt() * (tails + ratio * torch.erf(ratio / math.sqrt(2)))
        return (self.latent.log_weights.exp()[..., None, None] * folded).sum(dim=0)

    def sample(self, num_samples: int, *, joint: bool = False, generator: Generator | None = None) -> Tensor:
        return self.latent.sample(num_samples, joint=joint, generator=generator).abs() ** self.power

    def log_prob(self, y: Tensor) -> Estimate:
        root = self._root(y)
        both = torch.logaddexp(self.latent.log_prob(root).value, self.latent.log_prob(-root).value)
        value = torch.where(y[..., 0] < 0, -torch.inf, both + self._log_slope(root)[..., 0])
        return Estimate(value, torch.zeros_like(value))

    def joint_log_prob(self, y: Tensor, mask: Tensor | None = None) -> Estimate:
        check_joint(y.shape[1])
        mask = torch.ones(y.shape[:2], dtype=torch.bool, device=y.device) if mask is None else mask
        root_BQ = self._root(y)[..., 0]
        log_slope_BQ = torch.where(mask, self._log_slope(root_BQ), 0.0)
        value = self._joint_log_prob(root_BQ, mask) + log_slope_BQ.sum(dim=1)
        value = torch.where(((y[..., 0] < 0) & mask).any(dim=1), -torch.inf, value)
        return Estimate(value, torch.zeros_like(value))

    def log_mass(self, low: Tensor, high: Tensor) -> Estimate:
        inner, outer = self._root(low), self._root(high)
        right, left = self.latent.log_mass(inner, outer).value, self.latent.log_mass(-outer, -inner).value
        value = torch.logaddexp(left, right)
        return Estimate(value, torch.zeros_like(value))

    def cdf(self, y: Tensor) -> Tensor:
        root = self._root(y)
        return (self.latent.cdf(root) - self.latent.cdf(-root)).clamp(0, 1)

    def quantile(self, probabilities: Tensor) -> Tensor:
        margin = 8.5 * self.latent.variances_SBQY.sqrt()
        highest = (self.latent.means_SBQY.abs() + margin).amax(dim=0)
        return torch.stack([self._bisect(float(p), highest) for p in probabilities]) ** self.power

    def _bisect(self, probability: float, high: Tensor) -> Tensor:
        low = torch.zeros_like(high)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            below = self.cdf(middle**self.power) < probability
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def _root(self, y: Tensor) -> Tensor:
        return y.double().clamp(min=0) ** (1 / self.power)

    def _log_slope(self, root: Tensor) -> Tensor:
        """log |d|z| / dy|."""
        return -(self.power - 1) * (2 * root).log()

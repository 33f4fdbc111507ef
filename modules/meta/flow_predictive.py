"""The predictive distribution of a Gaussian process seen through an invertible map of its outputs.

Letters: S samples, B tasks, Q query points, Y target width, P probabilities, D values on one spline.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Generator, Tensor

from modules.contracts import Estimate, GaussianMixture, Predictive

from .monotone_spline import Mapped, MonotoneSpline

QUADRATURE_POINTS = 257
QUADRATURE_REACH = 6.0
"""Standard deviations to either side, beyond which 2e-9 of a Gaussian lies."""


class FlowPredictive(Predictive):
    """Targets y with spline(y) distributed as `latent`.

    Args:
        latent: One Gaussian at each query.
        spline: An increasing map of each target dimension at each query, with parameters [B, Q, Y, 3K - 1].
    """

    def __init__(self, latent: GaussianMixture, spline: MonotoneSpline) -> None:
        assert latent.means_SBQY.shape[0] == 1
        self.latent = latent
        self.spline = spline

    @cached_property
    def mean(self) -> Tensor:  # type: ignore[override]
        """By the trapezoidal rule over the Gaussian; the map of the Gaussian's mean would be the median.

        Splines that jump, as for discrete targets, leave an error below .01 in scaled units.
        """
        means_BQY, variances_BQY = self.latent.means_SBQY[0], self.latent.variances_SBQY[0]
        ends = (-QUADRATURE_REACH, QUADRATURE_REACH)
        nodes_D = torch.linspace(*ends, QUADRATURE_POINTS, dtype=means_BQY.dtype, device=means_BQY.device)
        weights_D = (-0.5 * nodes_D.square()).exp()
        values_BQYD = self.spline.inverse(means_BQY[..., None] + variances_BQY.sqrt()[..., None] * nodes_D)
        return values_BQYD @ (weights_D / weights_D.sum())

    def sample(self, num_samples: int, *, joint: bool = False, generator: Generator | None = None) -> Tensor:
        return self._out(self.latent.sample(num_samples, joint=joint, generator=generator))

    def log_prob(self, y: Tensor) -> Estimate:
        mapped = self._in(y)
        value, error = self.latent.log_prob(mapped.value)
        return Estimate(value + mapped.log_slope.sum(dim=-1), error)

    def joint_log_prob(self, y: Tensor, mask: Tensor | None = None) -> Estimate:
        mapped = self._in(y)
        value, error = self.latent.joint_log_prob(mapped.value, mask)
        log_slope_BQ = mapped.log_slope.sum(dim=-1)
        if mask is not None:
            log_slope_BQ = torch.where(mask, log_slope_BQ, 0.0)
        return Estimate(value + log_slope_BQ.sum(dim=1), error)

    def log_mass(self, low: Tensor, high: Tensor) -> Estimate:
        return self.latent.log_mass(self._in(low).value, self._in(high).value)

    def cdf(self, y: Tensor) -> Tensor:
        return self.latent.cdf(self._in(y).value)

    def quantile(self, probabilities: Tensor) -> Tensor:
        return self._out(self.latent.quantile(probabilities))

    def _in(self, y_BQY: Tensor) -> Mapped:
        mapped = self.spline.forward(y_BQY[..., None])
        return Mapped(mapped.value[..., 0], mapped.log_slope[..., 0])

    def _out(self, latent_SBQY: Tensor) -> Tensor:
        """Values of S share the spline of their query, so that they lie along its last dimension."""
        return self.spline.inverse(latent_SBQY.movedim(0, -1)).movedim(-1, 0)

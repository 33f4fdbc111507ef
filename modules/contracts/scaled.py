"""A predictive distribution in other units.

Letters: S samples, B tasks, Q query points, Y target width, P probabilities.
"""

from __future__ import annotations

from torch import Generator, Tensor

from .few_shot import Scaling
from .predictive import Estimate, Predictive


class ScaledPredictive(Predictive):
    """What a learner predicts in its scaled units, told in the units of the data.

    Args:
        inner: In the units of the learner.
        scaling: The map between the two.
    """

    def __init__(self, inner: Predictive, scaling: Scaling) -> None:
        self.inner = inner
        self.scaling = scaling

    @property
    def mean(self) -> Tensor:  # type: ignore[override]
        return self._back(self.inner.mean)

    def sample(self, num_samples: int, *, joint: bool = False, generator: Generator | None = None) -> Tensor:
        return self._back(self.inner.sample(num_samples, joint=joint, generator=generator))

    def log_prob(self, y: Tensor) -> Estimate:
        value, error = self.inner.log_prob(self.scaling.y(y))
        return Estimate(value - self.scaling.y_scale.log().sum(), error)

    def joint_log_prob(self, y: Tensor, mask: Tensor | None = None) -> Estimate:
        value, error = self.inner.joint_log_prob(self.scaling.y(y), mask)
        num_queries = y.shape[1] if mask is None else mask.sum(dim=1)
        return Estimate(value - num_queries * self.scaling.y_scale.log().sum(), error)

    def log_mass(self, low: Tensor, high: Tensor) -> Estimate:
        return self.inner.log_mass(self.scaling.y(low), self.scaling.y(high))

    def cdf(self, y: Tensor) -> Tensor:
        return self.inner.cdf(self.scaling.y(y))

    def quantile(self, probabilities: Tensor) -> Tensor:
        return self._back(self.inner.quantile(probabilities))

    def _back(self, y: Tensor) -> Tensor:
        return y * self.scaling.y_scale + self.scaling.y_mean

"""Demand that is not known before training: a distribution instead of a number.

Lifetime cost is linear in the demand, 6 w_train N (D + K). Hence the model with the lowest expected cost is the
optimum for the mean demand, whatever the shape of the distribution; what the shape decides is how much is lost for not
knowing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from modules.scaling.arrays import FloatArray, non_negative, positive
from modules.scaling.constraints import NO_LIMITS, Limits, limited_optimum
from modules.scaling.law import LossLaw
from modules.scaling.lifetime import LifetimeOptimum, lifetime_cost
from modules.scaling.rates import FLOPS, CostRates

_Z90 = 1.2815515655446004
"""90th percentile of the standard normal distribution."""
_NODES = 64


@dataclass(frozen=True)
class DemandDistribution:
    """Possible lifetime demands and how likely they are.

    Attributes:
        inference_tokens: float[n], zero or more.
        weights: float[n], positive, summing to one.
    """

    inference_tokens: FloatArray
    weights: FloatArray

    @classmethod
    def of(cls, inference_tokens: ArrayLike, weights: ArrayLike | None = None) -> DemandDistribution:
        """From scenarios or samples; equally likely unless weights are given (they are normalised).

        Raises:
            ValueError: a negative demand, a weight that is not positive, or lengths that differ.
        """
        demands = np.atleast_1d(non_negative("inference_tokens", inference_tokens))
        chances = np.ones_like(demands) if weights is None else np.atleast_1d(positive("weights", weights))
        if demands.shape != chances.shape:
            raise ValueError(f"weights has {chances.size} values for {demands.size} demands: give one for each")
        return cls(demands, chances / chances.sum())

    @classmethod
    def lognormal(cls, low: float, high: float) -> DemandDistribution:
        """A log-normal forecast from its 10th and 90th percentile, as Gauss-Hermite nodes.

        Raises:
            ValueError: not 0 < low < high.
        """
        if not 0 < low < high:
            raise ValueError(f"demand range {low:g}..{high:g} must rise from a positive low to a higher high")
        spread = np.log(high / low) / (2 * _Z90)
        nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
        return cls(np.sqrt(low) * np.sqrt(high) * np.exp(spread * nodes), weights / weights.sum())

    @property
    def mean(self) -> float:
        """Expected demand in tokens."""
        return float(self.weights @ self.inference_tokens)


@dataclass(frozen=True)
class ExpectedOptimum:
    """The model to train when the demand is uncertain.

    Attributes:
        optimum: The optimum for the mean demand; its costs are expected costs.
        regret_fraction: Expected extra cost over knowing the demand in advance (within the same limits), relative to
            the latter.
    """

    optimum: LifetimeOptimum
    regret_fraction: float


def expected_optimum(
    law: LossLaw,
    demand: DemandDistribution,
    *,
    loss: float | None = None,
    like: tuple[float, float] | None = None,
    quality_of: float | None = None,
    rates: CostRates = FLOPS,
    limits: Limits = NO_LIMITS,
) -> ExpectedOptimum:
    """The size and training length of the lowest expected lifetime cost, within limits.

    Raises:
        ValueError: as `limited_optimum`.
    """
    best, informed = (
        limited_optimum(law, limits, inference_tokens=tokens, loss=loss, like=like, quality_of=quality_of, rates=rates)
        for tokens in (demand.mean, demand.inference_tokens)
    )
    committed = lifetime_cost(best.parameters, best.tokens, demand.inference_tokens, rates)
    regret = float(demand.weights @ committed) / float(demand.weights @ informed.cost) - 1
    return ExpectedOptimum(best, regret)

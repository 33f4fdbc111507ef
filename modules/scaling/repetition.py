"""Training on repeated data: the data-constrained law of arXiv:2305.16264 (eq. 5 and 6, appendix A).

With U unique tokens and R = D/U - 1 repetitions, repeated tokens count for less and less, and so do parameters beyond
those that U unique tokens can train: D' = U + U R* (1 - exp(-R/R*)) takes the place of D, and N' likewise that of N,
in any law.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modules.scaling.arrays import FloatArray, positive
from modules.scaling.constraints import NO_LIMITS, Limits
from modules.scaling.law import TRAIN_FLOPS, LossLaw
from modules.scaling.lifetime import quality_point
from modules.scaling.rates import FLOPS, CostRates

DATA_DECAY = 15.39
"""R*_D: repetitions of the data after which 1 - 1/e of the value of repeating is spent."""
SIZE_DECAY = 5.31
"""R*_N: the same for parameters in excess."""

_SIZES_TRIED = 401
_REFINEMENTS = 6


@dataclass(frozen=True)
class RepeatedDataLaw:
    """A loss law where only so many different tokens exist.

    Attributes:
        law: The law of fresh data.
        unique_tokens: U.
    """

    law: LossLaw
    unique_tokens: float

    def __post_init__(self) -> None:
        positive("unique_tokens", self.unique_tokens)

    @property
    def matched_parameters(self) -> float:
        """U_N: the Chinchilla size for the unique tokens; what lies beyond it is in excess."""
        return float(self.law.chinchilla(tokens=self.unique_tokens).parameters)

    def effective_tokens(self, tokens: ArrayLike) -> FloatArray:
        """D': fresh tokens worth the same as these, which repeat once D exceeds U."""
        return _diminish(positive("tokens", tokens), self.unique_tokens, DATA_DECAY)

    def effective_parameters(self, parameters: ArrayLike) -> FloatArray:
        """N': parameters worth the same as these given the unique tokens."""
        return _diminish(positive("parameters", parameters), self.matched_parameters, SIZE_DECAY)

    def loss(self, parameters: ArrayLike, tokens: ArrayLike) -> FloatArray:
        """L(N', D'), nats per token."""
        return self.law.loss(self.effective_parameters(parameters), self.effective_tokens(tokens))

    def tokens_for_loss(self, parameters: ArrayLike, loss: ArrayLike) -> FloatArray:
        """Tokens to process, repetitions included, until N parameters reach a loss; infinite where they never do."""
        left = self.law.reducible(loss) - self.law.size_term(self.effective_parameters(parameters))
        with np.errstate(divide="ignore", invalid="ignore"):
            fresh = np.where(left > 0, (self.law.B / left) ** (1 / self.law.beta), np.inf)
            spent = 1 - (fresh / self.unique_tokens - 1) / DATA_DECAY
            repeated = self.unique_tokens * (1 - DATA_DECAY * np.log(np.maximum(spent, 0.0)))
        return np.where(fresh <= self.unique_tokens, fresh, repeated)[()]


@dataclass(frozen=True)
class RepeatedOptimum:
    """The cheapest run over its life when data repeat.

    Attributes:
        parameters: N*.
        tokens: D*, tokens processed, repetitions included.
        epochs: D*/U; below one not all of the data are needed.
        loss: Nats per token.
        cost: Lifetime cost in the unit of the rates.
    """

    parameters: float
    tokens: float
    epochs: float
    loss: float
    cost: float


def repeated_optimum(
    repeated: RepeatedDataLaw,
    *,
    inference_tokens: float,
    loss: float | None = None,
    like: tuple[float, float] | None = None,
    quality_of: float | None = None,
    rates: CostRates = FLOPS,
    limits: Limits = NO_LIMITS,
) -> RepeatedOptimum:
    """`limited_optimum` when the data run out; the quality is named under the law of fresh data.

    A grid over ln N that is refined around its best point, as the kinks at U and U_N leave no closed equation. The
    limits on data and compute hold for all tokens processed, repetitions included.

    Raises:
        ValueError: no model within the limits reaches the quality on so few unique tokens.
    """
    point = quality_point(repeated.law, loss=loss, like=like, quality_of=quality_of)
    demand = rates.training_tokens(inference_tokens)
    low, high = _sizes_tried(float(point.parameters), limits)
    for _ in range(_REFINEMENTS):
        sizes = np.geomspace(low, high, _SIZES_TRIED)
        tokens = repeated.tokens_for_loss(sizes, point.loss)
        costs = np.where(_allowed(sizes, tokens, limits), TRAIN_FLOPS * rates.train * sizes * (tokens + demand), np.inf)
        best = int(np.argmin(costs))
        low, high = sizes[max(best - 1, 0)], sizes[min(best + 1, _SIZES_TRIED - 1)]
    if not np.isfinite(costs[best]):
        raise ValueError(
            f"unique_tokens={repeated.unique_tokens:.4g} cannot reach loss={float(point.loss):g} however often they "
            f"repeat{' within the limits' if limits.any else ''}: find more data or ask for a higher loss"
        )
    processed = float(tokens[best])
    return RepeatedOptimum(
        parameters=float(sizes[best]),
        tokens=processed,
        epochs=processed / repeated.unique_tokens,
        loss=float(point.loss),
        cost=float(costs[best]),
    )


def _sizes_tried(chinchilla_parameters: float, limits: Limits) -> tuple[float, float]:
    """Smallest and largest size worth trying: scarce data ask for much more than the Chinchilla size."""
    if limits.parameters is not None:
        return limits.parameters, limits.parameters
    largest = chinchilla_parameters * np.exp(8.0)
    if limits.max_parameters is not None:
        largest = min(largest, limits.max_parameters)
    return min(chinchilla_parameters * np.exp(-4.0), largest), largest


def _allowed(sizes: FloatArray, tokens: FloatArray, limits: Limits) -> NDArray[np.bool_]:
    inside = np.ones(sizes.shape, dtype=np.bool_)
    if limits.max_parameters is not None:
        inside &= sizes <= limits.max_parameters
    if limits.max_tokens is not None:
        inside &= tokens <= limits.max_tokens
    if limits.max_train_flops is not None:
        inside &= TRAIN_FLOPS * sizes * tokens <= limits.max_train_flops
    return inside


def _diminish(amount: FloatArray, unique: float, decay: float) -> FloatArray:
    """Eq. 5: what exceeds `unique` counts for less and less."""
    excess = np.maximum(amount / unique - 1, 0.0)
    return np.minimum(amount, unique) - unique * decay * np.expm1(-excess / decay)

"""The optimum when something is given: the size, a limit on size, data or training compute, or a lifetime budget.

Along a curve of equal loss the lifetime cost falls up to the optimum and rises after it, so that the best point of an
interval of training lengths is the optimum itself or the end nearest to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from modules.scaling.arrays import FloatArray, positive
from modules.scaling.law import TRAIN_FLOPS, ChinchillaPoint, LossLaw
from modules.scaling.lifetime import LifetimeOptimum, at_run, lifetime_cost, lifetime_optimum
from modules.scaling.quantities import format_count
from modules.scaling.rates import FLOPS, CostRates

_BISECTIONS = 80
"""Enough to halve any interval of logarithms met here down to neighbouring fp64 numbers."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What bounds the choice; None does not bind.

    Attributes:
        parameters: The size is given; only the training length follows.
        max_parameters: Largest size, for example `Hardware.max_parameters` of the serving device.
        max_tokens: Largest number of training tokens.
        max_train_flops: Largest training compute, 6 N D.
    """

    parameters: float | None = None
    max_parameters: float | None = None
    max_tokens: float | None = None
    max_train_flops: float | None = None

    def __post_init__(self) -> None:
        for name in ("parameters", "max_parameters", "max_tokens", "max_train_flops"):
            if getattr(self, name) is not None:
                positive(name, getattr(self, name))

    @property
    def any(self) -> bool:
        """Whether anything is bounded at all."""
        return any(
            value is not None for value in (self.parameters, self.max_parameters, self.max_tokens, self.max_train_flops)
        )


NO_LIMITS = Limits()


def limited_optimum(
    law: LossLaw,
    limits: Limits,
    *,
    inference_tokens: ArrayLike,
    loss: ArrayLike | None = None,
    like: tuple[ArrayLike, ArrayLike] | None = None,
    quality_of: ArrayLike | None = None,
    rates: CostRates = FLOPS,
) -> LifetimeOptimum:
    """`lifetime_optimum` within limits.

    Raises:
        ValueError: no run within the limits reaches the quality; the message says which limit stands in the way.
    """
    free = lifetime_optimum(
        law, inference_tokens=inference_tokens, loss=loss, like=like, quality_of=quality_of, rates=rates
    )
    point = free.chinchilla
    low, high = _tokens_interval(law, point, limits)
    tokens = np.clip(free.tokens, low, high)
    # Where nothing binds the optimum stays as it was solved, to the last digit.
    parameters = np.where(tokens == free.tokens, free.parameters, law.parameters_for_loss(tokens, point.loss))[()]
    cost = lifetime_cost(parameters, tokens, inference_tokens, rates)
    saved = 1 - cost / lifetime_cost(point.parameters, point.tokens, inference_tokens, rates)
    saved = np.where(tokens == free.tokens, free.saved_fraction, saved)[()]
    return at_run(law, point, parameters, tokens, inference_tokens, rates, saved)


def _tokens_interval(law: LossLaw, point: ChinchillaPoint, limits: Limits) -> tuple[FloatArray, FloatArray]:
    """Shortest and longest training that the limits allow at the loss of the point."""
    low, high = np.zeros_like(point.tokens), np.full_like(point.tokens, np.inf)
    if limits.max_train_flops is not None:
        low, high = _compute_interval(law, point, limits.max_train_flops)
    if limits.max_parameters is not None:
        low = np.maximum(low, _tokens_of_size(law, point, "max_parameters", limits.max_parameters))
    if limits.max_tokens is not None:
        floor = float(np.max(_fewest_tokens(law, point)))
        if limits.max_tokens <= floor:
            raise ValueError(
                f"max_tokens={format_count(limits.max_tokens)} are too few for loss={float(np.min(point.loss)):g}: law "
                f"{law.name} needs more than {format_count(floor)} at any size; allow that or ask for a higher loss"
            )
        high = np.minimum(high, limits.max_tokens)
    if limits.parameters is not None:
        fixed = _tokens_of_size(law, point, "parameters", limits.parameters)
        low, high = np.maximum(low, fixed), np.minimum(high, fixed)
    if np.any(low > high):
        raise ValueError(
            f"no run reaches loss={float(np.min(point.loss)):g} within the limits: it needs at least "
            f"{float(np.max(low)):.4g} tokens where at most {float(np.min(high)):.4g} are allowed; "
            "relax a limit or ask for a higher loss"
        )
    return low, high


def _fewest_tokens(law: LossLaw, point: ChinchillaPoint) -> FloatArray:
    """Training length that an endlessly large model would need for the loss of the point."""
    return (law.B / law.reducible(point.loss)) ** (1 / law.beta)


def _tokens_of_size(law: LossLaw, point: ChinchillaPoint, name: str, parameters: float) -> FloatArray:
    smallest = float(np.max(law.smallest_size_ratio * point.parameters))
    if parameters <= smallest:
        raise ValueError(
            f"{name}={format_count(parameters)} is too small for loss={float(np.min(point.loss)):g}: law {law.name} "
            f"needs more than {format_count(smallest)} however many tokens; allow that or ask for a higher loss"
        )
    return law.tokens_for_loss(parameters, point.loss)


def _compute_interval(law: LossLaw, point: ChinchillaPoint, max_train_flops: float) -> tuple[FloatArray, FloatArray]:
    """Shortest and longest training of the point's loss within a compute budget: one end on each side of the point."""
    if np.any(point.train_flops > max_train_flops):
        raise ValueError(
            f"max_train_flops={max_train_flops:g} is too little for loss={float(np.min(point.loss)):g}: "
            f"even the Chinchilla model needs {float(np.max(point.train_flops)):.4g}; "
            "allow that much or ask for a higher loss"
        )
    floor = _fewest_tokens(law, point)
    ceiling = np.log(max_train_flops / (TRAIN_FLOPS * law.smallest_size_ratio * point.parameters))
    inner, ends = np.log(point.tokens), []
    for outer in (np.log(floor), ceiling):
        near, far = inner, outer + np.zeros_like(inner)
        for _ in range(_BISECTIONS):
            middle = (near + far) / 2
            inside = _train_flops(law, np.exp(middle), point.loss) <= max_train_flops
            near, far = np.where(inside, middle, near), np.where(inside, far, middle)
        ends.append(np.exp(near))
    return ends[0], ends[1]


def _train_flops(law: LossLaw, tokens: FloatArray, loss: FloatArray) -> FloatArray:
    """6 N D along the curve of equal loss; infinite where no size reaches it (only a rounding away from the floor)."""
    left = law.reducible(loss) - law.data_term(tokens)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.where(left > 0, (law.A / left) ** (1 / law.alpha), np.inf)
    return TRAIN_FLOPS * size * tokens


def best_for_budget(
    law: LossLaw, *, lifetime_cost: ArrayLike, inference_tokens: ArrayLike, rates: CostRates = FLOPS
) -> LifetimeOptimum:
    """The best model that a lifetime budget pays for, training and serving the demand together.

    Minimises L(N, D) at 6 w_train N (D + K) = budget. In z = ln D stationarity reads
    (1+beta) z - (1-alpha) ln(exp(z) + K) = const, whose left side rises with a slope between alpha + beta and 1 + beta:
    from any start the root is no farther than the excess over the smaller slope.

    Raises:
        ValueError: the budget is not positive or beyond the law, or the demand is negative.
    """
    product = positive("lifetime_cost", lifetime_cost) / (TRAIN_FLOPS * rates.train)
    demand = rates.training_tokens(inference_tokens)
    target = np.log(law.beta * law.B / (law.alpha * law.A)) + law.alpha * np.log(product)

    def excess(z: FloatArray) -> FloatArray:
        return (1 + law.beta) * z - (1 - law.alpha) * np.log(np.exp(z) + demand) - target

    start = target / (law.alpha + law.beta) + np.zeros_like(demand)
    reach = start - excess(start) / min(law.alpha + law.beta, 1 + law.beta)
    low, high = np.minimum(start, reach), np.maximum(start, reach)
    for _ in range(_BISECTIONS):
        z = (low + high) / 2
        above = excess(z) > 0
        low, high = np.where(above, low, z), np.where(above, z, high)
    tokens = np.exp(high)
    run = (product / (tokens + demand), tokens)
    if np.any(law.loss(*run) <= law.E):
        raise ValueError(
            f"lifetime_cost={float(np.max(lifetime_cost)):g} buys a loss that law {law.name} cannot tell from its "
            f"floor of E={law.E:g}: spend less"
        )
    return lifetime_optimum(law, inference_tokens=inference_tokens, like=run, rates=rates)

"""The model that reaches a quality at the lowest cost over its whole life, training and inference together.

    from modules.scaling import LossLaw, lifetime_optimum
    lifetime_optimum(LossLaw.preset("sardana2024"), quality_of=30e9, inference_tokens=1e13).parameters   # 13.6e9

arXiv:2401.00448, eq. 2-3 (FLOPs) and 5-6 (dollars); solved in the scale-free form of `modules.scaling.solver`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modules.scaling.arrays import FloatArray, positive
from modules.scaling.law import TRAIN_FLOPS, ChinchillaPoint, LossLaw
from modules.scaling.rates import FLOPS, CostRates
from modules.scaling.solver import shift


@dataclass(frozen=True)
class LifetimeOptimum:
    """The cheapest model of a quality for a demand. Fields broadcast over qualities and demands.

    Attributes:
        parameters: N*.
        tokens: D*, training tokens.
        loss: The quality, nats per token under the law.
        inference_tokens: The demand, tokens read and written over the model's life.
        train_cost: 6 w_train N* D*, in the unit of the rates.
        inference_cost: Cost of the demand on this model, same unit.
        saved_fraction: Share of the lifetime cost of the Chinchilla model that is saved.
        in_range: Whether the optimum lies where the law was fitted; elsewhere it is an extrapolation.
        chinchilla: The Chinchilla model of the same quality.
    """

    parameters: FloatArray
    tokens: FloatArray
    loss: FloatArray
    inference_tokens: FloatArray
    train_cost: FloatArray
    inference_cost: FloatArray
    saved_fraction: FloatArray
    in_range: NDArray[np.bool_]
    chinchilla: ChinchillaPoint

    @property
    def cost(self) -> FloatArray:
        """Lifetime cost of the optimum."""
        return self.train_cost + self.inference_cost


def lifetime_optimum(
    law: LossLaw,
    *,
    inference_tokens: ArrayLike,
    loss: ArrayLike | None = None,
    like: tuple[ArrayLike, ArrayLike] | None = None,
    quality_of: ArrayLike | None = None,
    rates: CostRates = FLOPS,
) -> LifetimeOptimum:
    """Solves for size and training length.

    Args:
        law: The loss law.
        inference_tokens: Lifetime demand, tokens read plus tokens written, zero or more.
        loss: The quality, as a loss under this law.
        like: The quality, as that of a run (N, D).
        quality_of: The quality, as that of the Chinchilla model with this many parameters.
        rates: Cost of a FLOP in training and inference; by default all FLOPs count the same.

    Returns:
        The optimum, elementwise over the broadcast inputs.

    Raises:
        ValueError: not exactly one quality is given, a loss at or below the law's floor, a negative demand.
    """
    point = quality_point(law, loss=loss, like=like, quality_of=quality_of)
    equivalent = rates.training_tokens(inference_tokens)
    moved = shift(equivalent / point.tokens, law.alpha, law.beta)
    parameters, tokens = point.parameters * np.exp(moved.log_size), point.tokens * np.exp(moved.log_data)
    return at_run(law, point, parameters, tokens, inference_tokens, rates, moved.saved_fraction)


def at_run(
    law: LossLaw,
    point: ChinchillaPoint,
    parameters: FloatArray,
    tokens: FloatArray,
    inference_tokens: ArrayLike,
    rates: CostRates,
    saved_fraction: FloatArray,
) -> LifetimeOptimum:
    """The costs of a run (N, D) that has the quality of `point`, beside it."""
    cost_per_token = TRAIN_FLOPS * rates.train * parameters
    return LifetimeOptimum(
        parameters=parameters,
        tokens=tokens,
        loss=point.loss + np.zeros_like(tokens),
        inference_tokens=np.asarray(inference_tokens, np.float64) + np.zeros_like(tokens),
        train_cost=cost_per_token * tokens,
        inference_cost=cost_per_token * rates.training_tokens(inference_tokens),
        saved_fraction=saved_fraction,
        in_range=law.covers(parameters, tokens),
        chinchilla=point,
    )


def quality_point(
    law: LossLaw,
    *,
    loss: ArrayLike | None = None,
    like: tuple[ArrayLike, ArrayLike] | None = None,
    quality_of: ArrayLike | None = None,
) -> ChinchillaPoint:
    """The Chinchilla point of a quality that is named in one of three ways (see `lifetime_optimum`).

    Raises:
        ValueError: none or several of the three are given.
    """
    given = [value is not None for value in (loss, like, quality_of)]
    if sum(given) != 1:
        raise ValueError(f"a quality is needed, got {sum(given)}: give exactly one of loss, like=(N, D), quality_of=N")
    if quality_of is not None:
        return law.chinchilla(parameters=positive("quality_of", quality_of))
    return law.chinchilla(loss=law.loss(*like) if like is not None else loss)


def lifetime_cost(
    parameters: ArrayLike, tokens: ArrayLike, inference_tokens: ArrayLike, rates: CostRates = FLOPS
) -> FloatArray:
    """6 w_train N (D + K): what any run (N, D) costs with its demand, optimal or not."""
    size, data = positive("parameters", parameters), positive("tokens", tokens)
    return TRAIN_FLOPS * rates.train * size * (data + rates.training_tokens(inference_tokens))


def optimal_demand(law: LossLaw, parameters: ArrayLike, tokens: ArrayLike, rates: CostRates = FLOPS) -> FloatArray:
    """The inverse question: for how many inference tokens is a run (N, D) the right one?

    Stationarity of N (D + K) along equal loss gives K = D (eN / eD - 1) with eN = alpha A N^-alpha and eD = beta B
    D^-beta.

    Returns:
        Tokens; negative for a run that is under-trained for any demand (say so, and do not print it as a number of
        tokens).
    """
    by_size, by_data = law.alpha * law.size_term(parameters), law.beta * law.data_term(tokens)
    return rates.inference_tokens(positive("tokens", tokens) * ((by_size - by_data) / by_data))


def smaller_model_overhead(law: LossLaw, size_factor: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """What a smaller model than Chinchilla's costs in training at equal loss (H. de Vries, "Go smol or go home").

    Args:
        law: The loss law; only its exponents matter.
        size_factor: k_N = N / Nc.

    Returns:
        k_D = D / Dc and the training overhead k_N k_D - 1.

    Raises:
        ValueError: a model of that size cannot reach the loss.
    """
    factor = positive("size_factor", size_factor)
    left = 1 - (factor**-law.alpha - 1) * law.beta / law.alpha
    if np.any(left <= 0):
        raise ValueError(
            f"size_factor={float(np.min(factor)):g} must exceed {law.smallest_size_ratio:.4f} under law {law.name}"
        )
    data_factor = left ** (-1 / law.beta)
    return data_factor, factor * data_factor - 1

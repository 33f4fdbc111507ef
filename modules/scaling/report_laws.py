"""What a loss law says of a finished run: what size would have been right, and for which demand this one is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modules.scaling.law import LossLaw
from modules.scaling.lifetime import lifetime_cost, lifetime_optimum, optimal_demand
from modules.scaling.rates import CostRates
from modules.scaling.repetition import RepeatedDataLaw


@dataclass(frozen=True)
class DemandOptimum:
    """The model of the run's quality that would have been cheapest for a demand.

    Attributes:
        inference_units: The demand.
        parameters: N*.
        tokens: D*.
        saved_fraction: Share of the run's own lifetime cost that it would have saved.
    """

    inference_units: float
    parameters: float
    tokens: float
    saved_fraction: float


@dataclass(frozen=True)
class LawAnswer:
    """One law's view of a run.

    Attributes:
        law: Name of the law.
        counted: Which parameters stand for N: "total" or "active".
        parameters: N.
        tokens: D as the law counts it: repeated data are worth less than fresh ones.
        loss: L(N, D) under the law; not comparable with the run's own loss.
        chinchilla_parameters: Size of the training-optimal model of that quality.
        chinchilla_tokens: Its training tokens.
        under_trained: Whether no demand at all makes this run optimal.
        optimal_for_units: The demand for which the run is optimal; None where under_trained.
        in_range: Whether the law was fitted on runs of this size and length.
        optima: One for each demand.
    """

    law: str
    counted: str
    parameters: float
    tokens: float
    loss: float
    chinchilla_parameters: float
    chinchilla_tokens: float
    under_trained: bool
    optimal_for_units: float | None
    in_range: bool
    optima: tuple[DemandOptimum, ...]


def answer(
    law: LossLaw,
    counted: str,
    parameters: float,
    units: float,
    unique_units: float | None,
    demands: list[float],
    rates: CostRates,
) -> LawAnswer:
    """Asks a law about a run.

    Args:
        law: The law.
        counted: Which parameters `parameters` are, for the record.
        parameters: N.
        units: Units processed.
        unique_units: Different units among them; None where all are.
        demands: Lifetime demands to consider.
        rates: What the optimum minimises.
    """
    repeats = unique_units is not None and unique_units < units
    tokens = float(RepeatedDataLaw(law, unique_units).effective_tokens(units)) if repeats and unique_units else units
    inverse = float(optimal_demand(law, parameters, tokens, rates))
    best = lifetime_optimum(law, like=(parameters, tokens), inference_tokens=np.array(demands), rates=rates)
    saved = 1 - best.cost / lifetime_cost(parameters, units, np.array(demands), rates)
    return LawAnswer(
        law=law.name,
        counted=counted,
        parameters=parameters,
        tokens=tokens,
        loss=float(law.loss(parameters, tokens)),
        chinchilla_parameters=float(best.chinchilla.parameters),
        chinchilla_tokens=float(best.chinchilla.tokens),
        under_trained=inverse < 0,
        optimal_for_units=None if inverse < 0 else inverse,
        in_range=bool(law.covers(parameters, tokens)),
        optima=tuple(
            DemandOptimum(*map(float, row)) for row in zip(demands, best.parameters, best.tokens, saved, strict=True)
        ),
    )

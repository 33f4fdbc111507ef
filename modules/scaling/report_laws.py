"""What a loss law says of a finished run: what size would have been right, and for which demand this one is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modules.scaling.law import LossLaw
from modules.scaling.lifetime import lifetime_cost, lifetime_optimum, optimal_demand
from modules.scaling.rates import CostRates
from modules.scaling.repetition import RepeatedDataLaw, repeated_optimum


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
        chinchilla_parameters: Size of the training-optimal model of that quality on fresh data.
        chinchilla_tokens: Its training tokens.
        repeated: Whether data were repeated; the optima then repeat the same data.
        under_trained: Whether no demand at all makes this run optimal.
        optimal_for_units: The demand for which the run is optimal; None where under_trained, and where repeated (the
            inverse holds on a curve of fresh data, on which the run does not lie).
        in_range: Whether the law was fitted on runs of this size and length; None where its source does not say.
        optima: One for each demand; none where no other run is known to reach the quality on the repeated data.
    """

    law: str
    counted: str
    parameters: float
    tokens: float
    loss: float
    chinchilla_parameters: float
    chinchilla_tokens: float
    repeated: bool
    under_trained: bool
    optimal_for_units: float | None
    in_range: bool | None
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
    if unique_units is not None and unique_units < units:
        return _repeated_answer(RepeatedDataLaw(law, unique_units), counted, parameters, units, demands, rates)
    inverse = float(optimal_demand(law, parameters, units, rates))
    best = lifetime_optimum(law, like=(parameters, units), inference_tokens=np.array(demands), rates=rates)
    saved = 1 - best.cost / lifetime_cost(parameters, units, np.array(demands), rates)
    return LawAnswer(
        law=law.name,
        counted=counted,
        parameters=parameters,
        tokens=units,
        loss=float(law.loss(parameters, units)),
        chinchilla_parameters=float(best.chinchilla.parameters),
        chinchilla_tokens=float(best.chinchilla.tokens),
        repeated=False,
        under_trained=inverse < 0,
        optimal_for_units=None if inverse < 0 else inverse,
        in_range=law.covers_run(parameters, units),
        optima=tuple(
            DemandOptimum(*map(float, row)) for row in zip(demands, best.parameters, best.tokens, saved, strict=True)
        ),
    )


def _repeated_answer(
    repeated: RepeatedDataLaw, counted: str, parameters: float, units: float, demands: list[float], rates: CostRates
) -> LawAnswer:
    law, loss, tokens = repeated.law, float(repeated.loss(parameters, units)), float(repeated.effective_tokens(units))
    fresh = law.chinchilla(loss=loss)
    return LawAnswer(
        law=law.name,
        counted=counted,
        parameters=parameters,
        tokens=tokens,
        loss=loss,
        chinchilla_parameters=float(fresh.parameters),
        chinchilla_tokens=float(fresh.tokens),
        repeated=True,
        under_trained=False,
        optimal_for_units=None,
        in_range=law.covers_run(parameters, tokens),
        optima=_repeated_optima(repeated, loss, parameters, units, demands, rates),
    )


def _repeated_optima(
    repeated: RepeatedDataLaw, loss: float, parameters: float, units: float, demands: list[float], rates: CostRates
) -> tuple[DemandOptimum, ...]:
    found = []
    for demand in demands:
        try:
            best = repeated_optimum(repeated, loss=loss, inference_tokens=demand, rates=rates)
        except ValueError:  # so many epochs that the law tells no two lengths of training apart
            return ()
        saved = 1 - best.cost / float(lifetime_cost(parameters, units, demand, rates))
        found.append(DemandOptimum(demand, best.parameters, best.tokens, saved))
    return tuple(found)

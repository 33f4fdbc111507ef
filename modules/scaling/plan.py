"""A plan: how large a model, on how many tokens, for a quality and a demand; under several laws, as they disagree."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from modules.scaling.arrays import FloatArray
from modules.scaling.constraints import best_for_budget, limited_optimum
from modules.scaling.demand import expected_optimum
from modules.scaling.law import LossLaw
from modules.scaling.lifetime import LifetimeOptimum, lifetime_cost, optimal_demand
from modules.scaling.question import Question
from modules.scaling.repetition import RepeatedDataLaw, RepeatedOptimum, repeated_optimum
from modules.scaling.report_notes import range_notes
from modules.scaling.uncertainty import interval

DEMAND_FACTORS = (0.1, 1.0, 10.0)
"""How wrong a demand may be: a tenth, as stated, ten times."""


@dataclass(frozen=True)
class LawPlan:
    """The answer of one law.

    Attributes:
        law: Its name.
        parameters: N*.
        tokens: D*.
        loss: The quality under this law, nats per token.
        chinchilla: `parameters` and `tokens` of the Chinchilla model of the same quality.
        saved_fraction: Share of the Chinchilla model's lifetime cost that is saved, in the unit of the rates.
        flops_saved_fraction: The same in FLOPs, whatever was minimised.
        train_cost: In the unit of the rates.
        inference_cost: In the unit of the rates.
        chinchilla_cost: Lifetime cost of the Chinchilla model.
        in_range: Whether the law was fitted on runs of this size and length; None where its source does not say.
    """

    law: str
    parameters: float
    tokens: float
    loss: float
    chinchilla: dict[str, float]
    saved_fraction: float
    flops_saved_fraction: float
    train_cost: float
    inference_cost: float
    chinchilla_cost: float
    in_range: bool | None


@dataclass(frozen=True)
class Plan:
    """The whole answer.

    Attributes:
        best: Under the chosen law.
        other_laws: Under the others; one that cannot meet the limits is left out with a note.
        inference_tokens: The demand.
        unit: What is minimised, "FLOP" or "USD".
        demands: The answer of the chosen law if the demand is ten times smaller, as stated, ten times larger.
        interval: 80 % bootstrap intervals of `parameters`, `tokens`, `saved_fraction`; None without samples.
        regret_fraction: Expected extra cost of not knowing the demand; None where it is a number.
        run_optimal_for: The demand for which the run given as `like` is itself optimal; None where none was given,
            where it is under-trained for any demand, and where its data repeat (no inverse is solved for that).
        run_under_trained: Whether no demand makes that run optimal; None where that is not known.
        repeated: The answer when data repeat; None where there are enough.
        notes: What limits the answer.
    """

    best: LawPlan
    other_laws: tuple[LawPlan, ...]
    inference_tokens: float
    unit: str
    demands: tuple[tuple[float, LawPlan], ...]
    interval: dict[str, tuple[float, float]] | None
    regret_fraction: float | None
    run_optimal_for: float | None
    run_under_trained: bool | None
    repeated: RepeatedOptimum | None
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """One flat object for the chosen law, the rest nested."""
        return {
            **asdict(self.best),
            "inference_tokens": self.inference_tokens,
            "unit": self.unit,
            "other_laws": [asdict(other) for other in self.other_laws],
            "demands": [{"inference_tokens": tokens, **asdict(plan)} for tokens, plan in self.demands],
            "interval": self.interval,
            "regret_fraction": self.regret_fraction,
            "run_optimal_for": self.run_optimal_for,
            "run_under_trained": self.run_under_trained,
            "repeated": None if self.repeated is None else asdict(self.repeated),
            "notes": list(self.notes),
        }


def make_plan(question: Question) -> Plan:
    """Answers a question.

    Raises:
        ValueError: the quality cannot be reached under the chosen law and the limits.
    """
    best = _ask(question, question.law, question.inference_tokens)
    others, notes = _ask_others(question)
    factors = DEMAND_FACTORS if question.inference_tokens else ()
    demands = tuple(
        (tokens, _ask(question, question.law, tokens)) for tokens in (question.inference_tokens * f for f in factors)
    )
    inverse, inverse_notes = _inverse(question)
    shown = [*(moved for _, moved in demands), best, *others]
    return Plan(
        best=best,
        other_laws=others,
        inference_tokens=question.inference_tokens,
        unit=question.rates.unit,
        demands=demands,
        interval=_interval(question),
        regret_fraction=_regret(question, best),
        run_optimal_for=inverse if inverse is not None and inverse >= 0 else None,
        run_under_trained=None if inverse is None else inverse < 0,
        repeated=_repeated(question),
        notes=(*notes, *inverse_notes, *_row_notes(question, shown)),
    )


def _ask(question: Question, law: LossLaw, inference_tokens: float) -> LawPlan:
    best = _solve(question, law, inference_tokens)
    point = best.chinchilla
    flops = lifetime_cost(best.parameters, best.tokens, inference_tokens)
    chinchilla_flops = lifetime_cost(point.parameters, point.tokens, inference_tokens)
    reference = lifetime_cost(point.parameters, point.tokens, inference_tokens, question.rates)
    saved = float(best.saved_fraction)
    return LawPlan(
        law=law.name,
        parameters=float(best.parameters),
        tokens=float(best.tokens),
        loss=float(best.loss),
        chinchilla={"parameters": float(point.parameters), "tokens": float(point.tokens)},
        saved_fraction=saved,
        flops_saved_fraction=saved if question.rates.unit == "FLOP" else float(1 - flops / chinchilla_flops),
        train_cost=float(best.train_cost),
        inference_cost=float(best.inference_cost),
        chinchilla_cost=float(reference),
        in_range=law.covers_run(float(best.parameters), float(best.tokens)),
    )


def _solve(question: Question, law: LossLaw, inference_tokens: float) -> LifetimeOptimum:
    if question.budget is not None:
        return best_for_budget(
            law, lifetime_cost=question.budget, inference_tokens=inference_tokens, rates=question.rates
        )
    loss, like = question.loss, question.like
    if loss is not None and law.name != question.law.name:
        # A loss belongs to its law: another one is asked about the Chinchilla model that has it.
        model = question.law.chinchilla(loss=loss)
        loss, like = None, (float(model.parameters), float(model.tokens))
    return limited_optimum(
        law,
        question.limits,
        inference_tokens=inference_tokens,
        loss=loss,
        like=like,
        quality_of=question.quality_of,
        rates=question.rates,
    )


def _ask_others(question: Question) -> tuple[tuple[LawPlan, ...], list[str]]:
    plans, notes = [], []
    for law in question.other_laws:
        try:
            plans.append(_ask(question, law, question.inference_tokens))
        except (ValueError, FloatingPointError) as error:
            notes.append(f"No answer under {law.name}: {error}")
    return tuple(plans), notes


def _interval(question: Question) -> dict[str, tuple[float, float]] | None:
    if question.law.samples is None:
        return None

    def numbers(law: LossLaw) -> FloatArray:
        plan = _ask(question, law, question.inference_tokens)
        return np.array([plan.parameters, plan.tokens, plan.saved_fraction])

    low, high = interval(question.law, numbers)
    names = ("parameters", "tokens", "saved_fraction")
    return {name: (float(a), float(b)) for name, a, b in zip(names, low, high, strict=True)}


def _regret(question: Question, best: LawPlan) -> float | None:
    if question.forecast is None:
        return None
    return expected_optimum(
        question.law, question.forecast, loss=best.loss, rates=question.rates, limits=question.limits
    ).regret_fraction


def _inverse(question: Question) -> tuple[float | None, list[str]]:
    """The demand that makes the run optimal, negative where none does, and why it is not known where it is not."""
    if question.like is None:
        return None, []
    if question.unique_tokens is not None and question.like[1] > question.unique_tokens:
        return None, ["The run has more tokens than are unique: its quality is taken as if all of them were."]
    return float(optimal_demand(question.law, *question.like, question.rates)), []


def _repeated(question: Question) -> RepeatedOptimum | None:
    if question.unique_tokens is None:
        return None
    return repeated_optimum(
        RepeatedDataLaw(question.law, question.unique_tokens),
        inference_tokens=question.inference_tokens,
        loss=question.loss,
        like=question.like,
        quality_of=question.quality_of,
        rates=question.rates,
        limits=question.limits,
    )


def _row_notes(question: Question, shown: list[LawPlan]) -> list[str]:
    """What limits some of the rows: data that do not exist, and laws asked about runs they were not fitted on."""
    found = []
    if question.unique_tokens is not None and max(plan.tokens for plan in shown) > question.unique_tokens:
        found = ["Some rows need more tokens than are unique: they hold for fresh data, the repeated answer for yours."]
    return found + range_notes([(plan.law, plan.in_range) for plan in shown])

"""A plan as a table for the terminal."""

from __future__ import annotations

from modules.scaling.plan import LawPlan, Plan
from modules.scaling.quantities import format_count, format_percent, format_usd

_COSTS = ("training", "serving", "lifetime")
_HEADER: tuple[str, ...] = ("law", "parameters", "tokens", "tokens/N", "Chinchilla", "saves", *_COSTS)


def plan_table(plan: Plan) -> str:
    """The answer of each law, what moves it, and what limits it."""
    rows = [_HEADER, *(_row(plan, answer.law, answer) for answer in (plan.best, *plan.other_laws))]
    lines = [
        f"Demand {format_count(plan.inference_tokens)} inference tokens; costs in {plan.unit}.",
        "",
        *_aligned(rows),
    ]
    if plan.demands:
        moved: list[tuple[str, ...]] = [("demand", *_HEADER[1:])]
        moved += [_row(plan, format_count(tokens), answer) for tokens, answer in plan.demands]
        lines += ["", f"If the demand is ten times smaller or larger ({plan.best.law}):", "", *_aligned(moved)]
    extra = _extra_lines(plan)
    return "\n".join([*lines, *([""] if extra else []), *extra])


def _row(plan: Plan, label: str, answer: LawPlan) -> tuple[str, ...]:
    chinchilla = answer.chinchilla
    return (
        label,
        format_count(answer.parameters),
        format_count(answer.tokens),
        f"{answer.tokens / answer.parameters:,.0f}",
        f"{format_count(chinchilla['parameters'])} on {format_count(chinchilla['tokens'])}",
        format_percent(answer.saved_fraction),
        *(_cost(plan, cost) for cost in (answer.train_cost, answer.inference_cost)),
        _cost(plan, answer.train_cost + answer.inference_cost),
    )


def _cost(plan: Plan, value: float) -> str:
    return format_usd(value) if plan.unit == "USD" else f"{value:.3e}"


def _extra_lines(plan: Plan) -> list[str]:
    lines = []
    if plan.interval is not None:
        (n_low, n_high), (d_low, d_high) = plan.interval["parameters"], plan.interval["tokens"]
        lines.append(
            f"80% of the bootstrap samples: {format_count(n_low)} to {format_count(n_high)} parameters, "
            f"{format_count(d_low)} to {format_count(d_high)} tokens."
        )
    if plan.regret_fraction is not None:
        lines.append(
            "The demand is uncertain: the plan is optimal for its mean and costs "
            f"{format_percent(plan.regret_fraction)} more, on average, than one made with foresight."
        )
    if plan.run_optimal_for is not None:
        demand = format_count(plan.run_optimal_for)
        lines.append(f"The run itself is optimal for a demand of {demand} ({plan.best.law}).")
    if plan.run_under_trained:
        lines.append(f"The run itself is under-trained for any demand ({plan.best.law}).")
    if plan.repeated is not None:
        run = plan.repeated
        lines.append(
            f"With repeated data: {format_count(run.parameters)} parameters, {format_count(run.tokens)} tokens in "
            f"{run.epochs:.3g} epochs, lifetime cost {_cost(plan, run.cost)}."
        )
    return lines + [f"! {note}" for note in plan.notes]


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]

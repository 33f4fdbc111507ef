"""A lifetime report as text: a short table for the terminal, and the same as Markdown."""

from __future__ import annotations

from modules.scaling.quantities import format_count, format_percent, format_usd
from modules.scaling.report import LifetimeReport
from modules.scaling.report_laws import LawAnswer


def report_table(report: LifetimeReport) -> str:
    """The report in a few aligned lines."""
    rows = _cost_rows(report) + [row for answer in report.answers for row in _answer_rows(report, answer)]
    width = max(len(label) for label, _ in rows)
    lines = [f"{label:<{width}}  {text}" for label, text in rows]
    title = f"Lifetime cost (savings are in {report.objective}, against this run)"
    return "\n".join([title, *lines, *(f"! {note}" for note in report.notes)])


def report_markdown(report: LifetimeReport) -> str:
    """The report as a page of its own."""
    lines = ["# Lifetime cost", "", "| what | value |", "| --- | --- |"]
    lines += [f"| {label} | {text} |" for label, text in _cost_rows(report)]
    for answer in report.answers:
        lines += ["", f"## {_heading(report, answer)}", "", "| question | answer |", "| --- | --- |"]
        lines += [f"| {label} | {text} |" for label, text in _answer_rows(report, answer)]
    return "\n".join([*lines, "", "## Limits", "", *(f"- {note}" for note in report.notes), ""])


def _cost_rows(report: LifetimeReport) -> list[tuple[str, str]]:
    run, training = report.run, report.training
    size = format_count(run.parameters_total)
    if run.parameters_active != run.parameters_total:
        size += f" ({format_count(run.parameters_active)} active)"
    paid = f"{format_count(training.flops)} FLOP, {training.device_hours:.3g} device-hours"
    if training.utilization is not None:
        paid += f", {format_percent(training.utilization)} of peak"
    rows = [
        ("model", f"{size} parameters, {format_count(run.units)} {run.unit}s"),
        ("training so far", _with_usd(paid, training.usd)),
        (
            f"serving 1M {run.unit}s",
            _with_usd(f"{format_count(report.flops_per_million_units)} FLOP", report.usd_per_million_units),
        ),
    ]
    for demand in report.demands:
        label = f"life with {format_count(demand.inference_units)} {run.unit}s"
        rows.append((label, _with_usd(f"{format_count(demand.lifetime_flops)} FLOP", demand.lifetime_usd)))
    return rows


def _answer_rows(report: LifetimeReport, answer: LawAnswer) -> list[tuple[str, str]]:
    name = _heading(report, answer)
    if answer.repeated:
        inverse = "not known: the data were repeated"
    elif answer.under_trained:
        inverse = f"no demand: under-trained, Chinchilla has {format_count(answer.chinchilla_parameters)} parameters"
        inverse += f" on {format_count(answer.chinchilla_tokens)} {report.run.unit}s"
    else:
        assert answer.optimal_for_units is not None
        inverse = f"a demand of {format_count(answer.optimal_for_units)} {report.run.unit}s"
    rows = [(f"{name}: optimal for", inverse)]
    for best in answer.optima:
        label = f"{name}: best for {format_count(best.inference_units)}"
        run = f"{format_count(best.parameters)} on {format_count(best.tokens)}"
        rows.append((label, f"{run}, saves {format_percent(best.saved_fraction)}"))
    return rows


def _heading(report: LifetimeReport, answer: LawAnswer) -> str:
    return f"{answer.law} ({answer.counted} N)" if report.run.law_use == "bracket" else answer.law


def _with_usd(text: str, usd: float | None) -> str:
    return text if usd is None else f"{text}, {format_usd(usd)}"

"""What limits the numbers of a lifetime report, one sentence each: an honest report carries its own warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modules.scaling.hardware import Hardware
from modules.scaling.rates import CostRates
from modules.scaling.report_laws import LawAnswer

if TYPE_CHECKING:
    from modules.scaling.report import RunCost

_LAW_USE = {
    "indicative": "The laws were fitted on causal language models: here they are indicative only.",
    "bracket": "The laws are dense laws: a routed model lies somewhere between its active and its total parameters.",
    "none": "No loss law applies: cost only.",
}


def notes(
    run: RunCost, device: Hardware | None, rates: CostRates | None, answers: tuple[LawAnswer, ...]
) -> tuple[str, ...]:
    """The sentences that hold for this report, the most important first."""
    return tuple(_of_law(run, answers) + _of_money(run, device, rates) + _of_counting(run, answers))


def _of_law(run: RunCost, answers: tuple[LawAnswer, ...]) -> list[str]:
    found = [_LAW_USE[run.law_use]] if run.law_use in _LAW_USE else []
    if run.law_note:
        found.append(run.law_note)
    if run.units == 0:
        found.append("Nothing was trained: there is no quality to compare.")
    outside = list(dict.fromkeys(a.law for a in answers if not a.in_range))
    if outside:
        found.append(f"Outside the runs that the law was fitted on, or those are unknown: {', '.join(outside)}.")
    return found


def _of_money(run: RunCost, device: Hardware | None, rates: CostRates | None) -> list[str]:
    if device is None:
        return ["The hardware has no record of peak and price: FLOPs without dollars for serving."]
    if device.usd_per_hour is None:
        return [f"{device.name} has no price on record: FLOPs without dollars."]
    if rates is None:
        return [f"Utilization on {device.name} in {run.precision} is not known: FLOPs without dollars for serving."]
    return [
        f"Serving is priced on {device.name} at ${device.usd_per_hour:.2f}/h and assumes {run.prefill_utilization:.0%} "
        f"of the peak in reading and {run.decode_utilization:.0%} in generating ({device.source})."
    ]


def _of_counting(run: RunCost, answers: tuple[LawAnswer, ...]) -> list[str]:
    found = []
    if run.unique_units is not None and run.unique_units < run.units:
        epochs = run.units / run.unique_units
        found.append(f"The data were seen {epochs:.3g} times: repeated {run.unit}s count for less (arXiv:2305.16264).")
    if answers:
        found.append("The laws count embeddings in N, and take 6 N FLOPs per trained token and 2 N per served one.")
        found.append("A law's loss belongs to its own text and tokenizer: do not compare it with the loss of this run.")
    if run.inference_units is None:
        found.append(f"No demand was stated: shown are 1, 10 and 100 times the {run.unit}s trained.")
    return found

"""What limits the numbers of a lifetime report, one sentence each: an honest report carries its own warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modules.scaling.hardware import Hardware
from modules.scaling.rates import CostRates
from modules.scaling.report_laws import LawAnswer

if TYPE_CHECKING:
    from modules.scaling.report import RunCost

_LAW_USE = {
    "indicative": ("The laws are indicative only", "they were fitted on causal language models"),
    "bracket": ("The laws are dense laws and bracket this model", "between its active and its total parameters"),
    "none": ("No loss law applies: cost only", ""),
}
"""What holds, and why where the run itself does not say."""


def notes(
    run: RunCost, device: Hardware | None, rates: CostRates | None, answers: tuple[LawAnswer, ...]
) -> tuple[str, ...]:
    """The sentences that hold for this report, the most important first."""
    return tuple(_of_law(run, answers) + _of_money(run, device, rates) + _of_counting(run, answers))


def _of_law(run: RunCost, answers: tuple[LawAnswer, ...]) -> list[str]:
    verdict, usual_reason = _LAW_USE.get(run.law_use, ("The laws apply", ""))
    reason = run.law_note.rstrip(".") or usual_reason
    found = [f"{verdict} ({reason})." if reason else f"{verdict}."] if run.law_use in _LAW_USE or reason else []
    if run.units == 0:
        found.append("Nothing was trained: there is no quality to compare.")
    return [*found, *(f"{note}." for note in range_notes([(a.law, a.in_range) for a in answers]))]


def range_notes(in_range: list[tuple[str, bool | None]]) -> list[str]:
    """Which of the laws (name, whether the answer lies in its range, None if that is unknown) are extrapolated."""
    found = []
    for what, state in (("Outside the runs that the law was fitted on", False), ("Range of the law unknown", None)):
        laws = list(dict.fromkeys(law for law, inside in in_range if inside is state))
        if laws:
            found.append(f"{what}: {', '.join(laws)}")
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
            found.append("The models compared repeat the same data; for which demand the run is optimal is not solved.")
    if answers:
        found.append("The laws count embeddings in N, and take 6 N FLOPs per trained token and 2 N per served one.")
        found.append("A law's loss belongs to its own text and tokenizer: do not compare it with the loss of this run.")
    if run.inference_units is None:
        found.append(f"No demand was stated: shown are 1, 10 and 100 times the {run.unit}s trained.")
    return found

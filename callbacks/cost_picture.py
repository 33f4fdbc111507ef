"""The picture of a lifetime cost: where the FLOPs go as the demand grows, and which size would have been right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from callbacks.files import written_whole
from modules.scaling import LifetimeReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_lifetime_cost(report: LifetimeReport, path: Path) -> None:
    """Draw a report to `path`: lifetime FLOPs over the demand, and, under laws, sizes and data beside the run's."""
    from matplotlib.figure import Figure  # no pyplot: nothing global, no display

    has_laws = bool(report.answers)
    figure = Figure(figsize=(11 if has_laws else 6, 4.5), layout="constrained")
    axes = figure.subplots(1, 2 if has_laws else 1, squeeze=False)[0]
    _draw_split(axes[0], report)
    if has_laws:
        _draw_sizes(axes[1], report)
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _draw_split(axes: Axes, report: LifetimeReport) -> None:
    """Training and inference FLOPs, stacked, from a hundredth to a thousand times the units trained."""
    demand = report.run.units * np.logspace(-2, 3, 200)
    inference = demand * report.flops_per_million_units / 1e6
    training = np.full_like(demand, report.training.flops)
    axes.stackplot(demand, training, inference, labels=["training", "inference"], colors=["#4c72b0", "#dd8452"])
    for row in report.demands:
        axes.axvline(row.inference_units, color="0.3", linestyle=":", linewidth=1)
    axes.set(xscale="log", yscale="log", xlabel=f"lifetime demand ({report.run.unit}s)", ylabel="FLOP")
    axes.set(title="cost over the model's life", xlim=(demand[0], demand[-1]), ylim=(0.5 * training[0], None))
    axes.legend(loc="upper left")


def _draw_sizes(axes: Axes, report: LifetimeReport) -> None:
    """The run in the plane of parameters and data, with the cheapest model of its quality for each demand and law."""
    for number, law in enumerate(report.answers):
        color = f"C{number + 2}"
        axes.plot(law.chinchilla_parameters, law.chinchilla_tokens, "x", color=color)
        parameters, tokens = [row.parameters for row in law.optima], [row.tokens for row in law.optima]
        axes.plot(parameters, tokens, "o-", color=color, markersize=4, label=f"{law.law}: optimum per demand")
        for row in law.optima:
            multiple = row.inference_units / report.run.units
            axes.annotate(
                f"{multiple:.3g}x", (row.parameters, row.tokens), fontsize=7, xytext=(4, 4), textcoords="offset points"
            )
    run = report.answers[0]
    axes.plot(run.parameters, report.run.units, "*", color="black", markersize=12, label="this run")
    axes.plot([], [], "x", color="0.4", label="training-optimal (Chinchilla)")
    axes.set(xscale="log", yscale="log", xlabel="parameters", ylabel=f"{report.run.unit}s of training")
    axes.set_title("models of the same quality under a law")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8)

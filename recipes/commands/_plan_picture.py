"""The picture of a plan: cost over size, and how size and savings move with the demand under each law."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modules.scaling import Plan, Question, format_count, lifetime_cost, lifetime_optimum

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#1f4e79", "#c55a11", "#548235", "#7f6084", "#8a8a8a")
TRAINING, SERVING = "#9dc3e6", "#f4b183"


def draw_plan(question: Question, plan: Plan, path: Path) -> None:
    """Draws three panels into an image file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.5, 4.2), layout="constrained")
    cost, size, saving = figure.subplots(1, 3)
    _draw_cost(cost, question, plan)
    _draw_over_demand(size, saving, question, plan)
    figure.savefig(path, dpi=120)


def _draw_cost(axes: Axes, question: Question, plan: Plan) -> None:
    """Lifetime cost at equal quality over the size of the model, split into training and serving."""
    law, best = question.law, plan.best
    chinchilla = best.chinchilla["parameters"]
    smallest = max(1.05 * law.smallest_size_ratio, 0.3 * min(best.parameters / chinchilla, 1.0))
    sizes = chinchilla * np.geomspace(smallest, 2.5, 300)
    tokens = law.tokens_for_loss(sizes, best.loss)
    training = lifetime_cost(sizes, tokens, 0.0, question.rates)
    total = lifetime_cost(sizes, tokens, plan.inference_tokens, question.rates)
    axes.fill_between(sizes, training, color=TRAINING, label="training")
    axes.fill_between(sizes, training, total, color=SERVING, label="serving")
    axes.plot(sizes, total, color="black", linewidth=1.2)
    axes.plot(chinchilla, best.chinchilla_cost, "o", color="black", label=f"Chinchilla, {format_count(chinchilla)}")
    chosen, label = best.train_cost + best.inference_cost, f"plan, {format_count(best.parameters)}"
    axes.plot(best.parameters, chosen, "*", color="#c00000", markersize=13, label=label)
    axes.set(xscale="log", ylim=(0, 2.2 * best.chinchilla_cost), xlim=(sizes[0], sizes[-1]))
    axes.set(xlabel="parameters, at equal quality", ylabel=f"lifetime cost ({plan.unit})")
    axes.set_title(f"{law.name}: cost over size")
    _count_ticks(axes)
    axes.legend(fontsize=8, loc="upper right")


def _draw_over_demand(size_axes: Axes, saving_axes: Axes, question: Question, plan: Plan) -> None:
    middle = plan.inference_tokens or plan.best.chinchilla["tokens"]
    demands = middle * np.geomspace(1e-2, 1e2, 200)
    shown = {answer.law: answer for answer in (plan.best, *plan.other_laws)}
    laws = [law for law in (question.law, *question.other_laws) if law.name in shown]
    for law, colour in zip(laws, cycle(COLOURS), strict=False):
        style = "-" if law is question.law else "--"
        free = lifetime_optimum(law, loss=shown[law.name].loss, inference_tokens=demands, rates=question.rates)
        size_axes.plot(demands, free.parameters / free.chinchilla.parameters, style, color=colour, label=law.name)
        saving_axes.plot(demands, 100 * free.saved_fraction, style, color=colour, label=law.name)
    for axes in (size_axes, saving_axes):
        axes.axvline(middle, color="black", linewidth=0.8, linestyle=":")
        axes.set(xscale="log", xlim=(demands[0], demands[-1]), xlabel="lifetime inference tokens")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    size_axes.set(ylim=(0, 1.05), ylabel="size / Chinchilla size", title="the best size over demand")
    saving_axes.set(ylim=(0, None), ylabel="saved, % of lifetime cost", title="what it saves")


def _count_ticks(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_count(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())

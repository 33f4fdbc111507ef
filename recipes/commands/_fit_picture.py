"""The picture of a fit: losses against the law, and what the law leaves over."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modules.scaling import LawFit, format_count
from recipes.commands._runs_table import RunsTable


def draw_fit(fit: LawFit, table: RunsTable, path: Path) -> None:
    """Draws loss over tokens with one curve a size, and residuals over tokens per parameter, into an image file."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), layout="constrained")
    curves, residuals = figure.subplots(1, 2)
    sizes = np.unique(table.parameters)
    for size, colour in zip(sizes, colormaps["viridis"](np.linspace(0, 0.9, sizes.size)), strict=True):
        mine = table.parameters == size
        tokens, loss = table.tokens[mine], table.loss[mine]
        span = np.geomspace(tokens.min() / 1.5, tokens.max() * 1.5, 100)
        curves.plot(span, fit.law.loss(size, span), color=colour, linewidth=1)
        curves.plot(tokens, loss, "o", color=colour, markersize=4, label=format_count(size))
        residuals.plot(tokens / size, fit.law.loss(size, tokens) - loss, "o", color=colour, markersize=4)
    curves.set(
        xscale="log", xlabel="training tokens", ylabel="loss, nats per token", title=f"{fit.law.name}: runs and law"
    )
    curves.legend(title="parameters", fontsize=8, ncols=1 + sizes.size // 9)
    residuals.axhline(0, color="black", linewidth=0.8)
    residuals.set(
        xscale="log", xlabel="tokens per parameter", ylabel="law - run, nats per token", title="what is left over"
    )
    for axes in (curves, residuals):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)

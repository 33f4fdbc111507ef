"""The contours of the paper's Figure 1: what a demand does to FLOPs, size and data at equal loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from callbacks.files import written_whole
from modules.scaling import LossLaw, lifetime_optimum
from modules.scaling.arrays import FloatArray
from recipes.commands._laws import find_law

# File, title and levels, as in the figure of arXiv:2401.00448v1.
_PANELS = {
    "flop_ratio": ("Chinchilla FLOPs / optimum FLOPs", (1.01, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 8.0)),
    "size_ratio": ("optimum size / Chinchilla size", (0.15, 0.2, 0.25, 0.33, 0.5, 0.75, 0.9)),
    "data_ratio": ("optimum data / Chinchilla data", (1.1, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0)),
}


def contour_values(law: LossLaw, losses: FloatArray, demands: FloatArray) -> dict[str, FloatArray]:
    """The three ratios on a grid, float[demands, losses] each, in FLOPs."""
    best = lifetime_optimum(law, loss=losses[None, :], inference_tokens=demands[:, None])
    return {
        "flop_ratio": 1 / (1 - best.saved_fraction),
        "size_ratio": best.parameters / best.chinchilla.parameters,
        "data_ratio": best.tokens / best.chinchilla.tokens,
    }


def draw_contours(law_name: str, folder: Path) -> list[Path]:
    """Draws one image for each ratio.

    Returns:
        The files written.

    Raises:
        ValueError: unknown law.
    """
    law = find_law(law_name)
    largest, smallest = law.chinchilla(parameters=1e12), law.chinchilla(parameters=1e8)
    losses = np.linspace(float(largest.loss), float(smallest.loss), 240)
    demands = np.geomspace(1e8, 1e15, 240)
    values = contour_values(law, losses, demands)
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / f"{name}.png" for name in values]
    for path, (name, ratio) in zip(written, values.items(), strict=True):
        with written_whole(path) as temporary:
            _draw(law, losses, demands, name, ratio, temporary)
    return written


def _draw(law: LossLaw, losses: FloatArray, demands: FloatArray, name: str, values: FloatArray, path: Path) -> None:
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    title, levels = _PANELS[name]
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.subplots()
    axes.pcolormesh(losses, demands, values, norm=LogNorm(), cmap="viridis", shading="auto", rasterized=True)
    lines = axes.contour(losses, demands, values, levels=levels, colors="white", linewidths=1.1)
    axes.clabel(lines, fmt="%g", fontsize=8)
    axes.set(yscale="log", xlabel="loss, nats per token", ylabel="lifetime inference tokens")
    axes.set_title(f"{title} ({law.name})")
    axes.invert_xaxis()
    figure.savefig(path, dpi=130)

"""Pictures of few-shot predictions: the predictive density of some tasks as heat maps, with support and truth.

Letters: B tasks, C columns of a heat map, H heights of one, E = H + 1 edges between them, Q query points.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from callbacks.files import written_whole
from modules.contracts import Predictive

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PER_LINE = 3
"""Tasks beside each other."""
MANY = 60
"""More true targets than these are drawn as a fine line of dots."""


@dataclass
class TaskPanel:
    """One task of a picture; targets are the first dimension of those of the task.

    Attributes:
        support: [N, 2], x and y of the support.
        truth: [Q, 2], x and y of the query points, which the learner did not see.
        columns: [C], x of each column, ascending.
        edges: [E], y between the cells of each column, ascending.
        masses: Names of predictives, and the probabilities of all cells, [H, C].
    """

    support: np.ndarray
    truth: np.ndarray
    columns: np.ndarray
    edges: np.ndarray = field(default_factory=lambda: np.empty(0))
    masses: dict[str, np.ndarray] = field(default_factory=dict)


def cell_masses(predictive: Predictive, edges_BE: Tensor) -> Tensor:
    """Probability [B, H, C] of the first target dimension between neighbouring edges, at each query.

    One edge of all tasks at a time: a predictive of many samples needs no more memory for it than for its queries.
    """
    shape = predictive.mean.shape
    below_BEC = torch.stack(
        [predictive.cdf(edge_B[:, None, None].expand(shape))[..., 0] for edge_B in edges_BE.T], dim=1
    )
    return below_BEC.diff(dim=1).clamp(min=0)


def draw_tasks(panels: list[TaskPanel], title: str, x_label: str, path: Path) -> None:
    """Draw the tasks to `path`, the predictives of each below each other."""
    from matplotlib.figure import Figure  # no pyplot: nothing global, no display

    names = list(panels[0].masses)
    num_columns = min(PER_LINE, len(panels))
    num_rows = -(-len(panels) // num_columns) * len(names)
    figure = Figure(figsize=(3.6 * num_columns, 2.3 * num_rows + 0.6), layout="constrained")
    axes = figure.subplots(num_rows, num_columns, squeeze=False)
    for place in range(num_columns * num_rows // len(names)):
        line, column = divmod(place, num_columns)
        for row, name in enumerate(names, start=line * len(names)):
            if place < len(panels):
                _draw_panel(axes[row, column], panels[place], name)
                axes[row, column].set_ylabel(name if column == 0 else "")
            else:
                axes[row, column].set_axis_off()
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False, markerscale=1.5)
    figure.suptitle(title, x=0.01, ha="left", fontsize="medium")
    figure.supxlabel(x_label, fontsize="medium")
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _draw_panel(axes: Axes, panel: TaskPanel, name: str) -> None:
    from matplotlib.colors import PowerNorm

    # One scale for all predictives of a task; the root lets weak modes be seen beside sharp ones.
    brightest = max(float(np.quantile(masses, 0.995)) for masses in panel.masses.values())
    norm = PowerNorm(0.5, vmin=0, vmax=brightest, clip=True)
    axes.pcolormesh(_between(panel.columns), panel.edges, panel.masses[name], norm=norm, cmap="Blues", rasterized=True)
    size = 1.5 if len(panel.truth) > MANY else 5
    axes.plot(*panel.truth.T, ".", color="#c44e52", markersize=size, label="truth")
    label = "support" if len(panel.support) else None
    axes.plot(*panel.support.T, "o", color="black", markersize=4.5, markeredgecolor="white", label=label)
    axes.set(ylim=(panel.edges[0], panel.edges[-1]))
    axes.locator_params(axis="x", nbins=6, integer=panel.columns.dtype.kind == "i")
    axes.tick_params(labelsize="small")


def _between(columns: np.ndarray) -> np.ndarray:
    """Borders of columns, half-way between their middles."""
    middles = (columns[1:] + columns[:-1]) / 2
    return np.concatenate([[2 * columns[0] - middles[0]], middles, [2 * columns[-1] - middles[-1]]])

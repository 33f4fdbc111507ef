"""A picture of how much a few-shot learner gains from each further support point."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import lightning as L

from callbacks.files import written_whole
from callbacks.run_folder import run_folder
from callbacks.to_loggers import log_picture
from modules.scores import ScoreSheet, TaskScores, summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "support_curve"
LABELS = {
    "log_loss": "log-loss (nats)",
    "nll": "negative log-likelihood (nats)",
    "crps": "CRPS (units of the data)",
    "rmse": "RMSE (units of the data)",
}


class SupportCurve(L.Callback):
    """Draws `support_curve.png` after a test with several numbers of support points (`data.init_args.test_support`).

    Log-loss or negative log-likelihood, CRPS and RMSE over the number of support points, with standard errors over
    tasks, and the same of the Bayes-optimal predictive where the tasks know it. Hands it to the loggers too. For
    recipes with `sheets`.
    """

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        sheets: list[ScoreSheet] = pl_module.sheets  # type: ignore[assignment]
        if not trainer.is_global_zero or len(sheets) < 2:
            return
        path = run_folder(trainer) / f"{NAME}.png"
        draw_support_curve(sheets, path)
        for logger in trainer.loggers:
            log_picture(logger, path, NAME, step=trainer.global_step)


def draw_support_curve(sheets: Sequence[ScoreSheet], path: Path) -> None:
    """Draw the scores of the same queries with different numbers of support points to `path`."""
    from matplotlib.figure import Figure  # no pyplot: nothing global, no display

    sheets = sorted(sheets, key=lambda sheet: sheet.num_support)
    sizes = [sheet.num_support for sheet in sheets]
    oracles = [sheet.oracle for sheet in sheets if sheet.oracle is not None]
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    for axes, name in zip(figure.subplots(1, 3), (sheets[0].loss_name, "crps", "rmse"), strict=True):
        _draw_curve(axes, name, sizes, [sheet.model for sheet in sheets], "model", "o-")
        if len(oracles) == len(sheets):
            _draw_curve(axes, name, sizes, oracles, "oracle", "s--")
        axes.set(xlabel="support points", ylabel=LABELS[name], xticks=sizes)
        axes.grid(alpha=0.3)
        axes.legend()
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _draw_curve(axes: Axes, name: str, sizes: list[int], scores: list[TaskScores], label: str, style: str) -> None:
    summaries = [summary(of_size) for of_size in scores]
    means, errors = ([values[name] for values in part] for part in zip(*summaries, strict=True))
    axes.errorbar(sizes, means, yerr=errors, fmt=style, markersize=4, linewidth=1.5, capsize=3, label=label)

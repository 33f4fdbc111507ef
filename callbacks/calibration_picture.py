"""A picture of calibration: whether what a few-shot learner says happens as often as it says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import lightning as L
import numpy as np
from torch import Tensor

from callbacks.files import written_whole
from callbacks.run_folder import run_folder
from callbacks.to_loggers import log_picture
from modules.scores import ScoreSheet, support_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "calibration"
NUM_BINS = 20


class CalibrationPicture(L.Callback):
    """Draws `calibration.png` after a test and hands it to the loggers, for recipes with `sheets`.

    On the left the histogram of the probability integral transform (PIT) of all targets, flat for an honest predictive:
    a valley is overconfidence, a hill the opposite. On the right how many targets lie below each quantile. With several
    sizes of support there is one line for each.
    """

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        sheets: list[ScoreSheet] = pl_module.sheets  # type: ignore[assignment]
        if not trainer.is_global_zero or not sheets:
            return
        path = run_folder(trainer) / f"{NAME}.png"
        pits = {support_title(*sheet.support_range): sheet.model.valid_pit() for sheet in sheets}
        draw_calibration(pits, path)
        for logger in trainer.loggers:
            log_picture(logger, path, NAME, step=trainer.global_step)


def draw_calibration(pits: dict[str, Tensor], path: Path) -> None:
    """Draw {name: PIT values of any shape} to `path`."""
    from matplotlib.figure import Figure  # no pyplot: nothing global, no display

    figure = Figure(figsize=(9, 4), layout="constrained")
    histogram, reliability = figure.subplots(1, 2)
    for number, (name, pit) in enumerate(pits.items()):
        _draw_pit(histogram, reliability, name, np.sort(pit.flatten().double().cpu().numpy()), f"C{number}")
    histogram.axhline(1, color="0.4", linestyle="--", linewidth=1)
    histogram.set(xlabel="PIT", ylabel="density of targets", title="PIT histogram", xlim=(0, 1), ylim=(0, None))
    reliability.plot([0, 1], [0, 1], color="0.4", linestyle="--", linewidth=1)
    reliability.set(xlabel="predicted probability", ylabel="share of targets below that quantile", title="reliability")
    reliability.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    reliability.legend(fontsize="small")
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _draw_pit(histogram: Axes, reliability: Axes, name: str, sorted_pit: np.ndarray, color: str) -> None:
    density, edges = np.histogram(sorted_pit, bins=NUM_BINS, range=(0, 1), density=True)
    histogram.stairs(density, edges, color=color, linewidth=1.5, label=name)
    reliability.plot(sorted_pit, np.arange(1, len(sorted_pit) + 1) / len(sorted_pit), color=color, label=name)

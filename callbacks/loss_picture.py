"""A picture of the loss at the end of a run."""

from __future__ import annotations

from pathlib import Path

import lightning as L

from callbacks.files import written_whole
from callbacks.metrics_csv import MetricsCsv, read_metrics
from callbacks.run_folder import run_folder


class LossPicture(L.Callback):
    """Draws `loss.png` from the run's `metrics.csv`: training and validation loss over steps.

    Where the recipe knows the unigram entropy of its corpus, it stands beside them as a dashed line: the loss of a
    model that ignores its context. Drawn when a run ends, also by an interruption or an error.
    """

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._draw(trainer, pl_module)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._draw(trainer, pl_module)

    def _draw(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        logger = next((logger for logger in trainer.loggers if isinstance(logger, MetricsCsv)), None)
        if not trainer.is_global_zero or logger is None or not logger.path.exists():
            return
        metrics = read_metrics(logger.path)
        curves = {name: curve for name, curve in metrics.items() if name in ("train/loss", "val/loss")}
        if curves:
            vocabulary = getattr(pl_module, "vocabulary", None)
            entropy = vocabulary.unigram_entropy if vocabulary is not None else None
            draw_losses(curves, entropy, run_folder(trainer) / "loss.png")


def draw_losses(curves: dict[str, dict[int, float]], unigram_entropy: float | None, path: Path) -> None:
    """Draw {name: {step: loss in nats}} to `path`, with the entropy as a dashed line if there is one."""
    from matplotlib.figure import Figure  # no pyplot: nothing global, no display

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for name, curve in curves.items():
        marker = "o" if name.startswith("val") else None
        axes.plot(list(curve), list(curve.values()), label=name, marker=marker, markersize=4, linewidth=1.5)
    if unigram_entropy is not None:
        axes.axhline(unigram_entropy, color="0.4", linestyle="--", linewidth=1, label="unigram entropy of the corpus")
    axes.set(xlabel="optimizer step", ylabel="loss (nats per predicted token)", title="/".join(path.parent.parts[-3:]))
    axes.grid(alpha=0.3)
    axes.legend()
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=120)

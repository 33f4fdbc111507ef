"""A picture of the loss at the end of a run."""

from __future__ import annotations

from pathlib import Path

import lightning as L

from callbacks.files import written_whole
from callbacks.metrics_csv import MetricsCsv, read_metrics
from callbacks.run_folder import run_folder

WILD_START = 0.05
"""Share of a run whose losses may lie above the picture."""


class LossPicture(L.Callback):
    """Draws `loss.png` from the run's `metrics.csv`: training and validation loss over steps.

    A recipe tells what its losses are counted in as `loss_unit`. Where it knows the unigram entropy of its corpus, that
    stands beside them as a dashed line: the loss of a model that ignores its context. Drawn when a run ends, also by an
    interruption or an error.
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
            unit = getattr(pl_module, "loss_unit", "")
            draw_losses(curves, entropy, run_folder(trainer) / "loss.png", unit=unit)


def draw_losses(
    curves: dict[str, dict[int, float]], unigram_entropy: float | None, path: Path, *, unit: str = ""
) -> None:
    """Draw {name: {step: loss}} to `path`, with the entropy as a dashed line if there is one."""
    from matplotlib.figure import Figure  # no pyplot: nothing global, no display

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for name, curve in curves.items():
        marker = "o" if name.startswith("val") else None
        axes.plot(list(curve), list(curve.values()), label=name, marker=marker, markersize=4, linewidth=1.5)
    if unigram_entropy is not None:
        axes.axhline(unigram_entropy, color="0.4", linestyle="--", linewidth=1, label="unigram entropy of the corpus")
    label = f"loss ({unit})" if unit else "loss"
    axes.set(xlabel="optimizer step", ylabel=label, title="/".join(path.parent.parts[-3:]))
    axes.set_ylim(_limits(curves, unigram_entropy))
    axes.grid(alpha=0.3)
    axes.legend()
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _limits(curves: dict[str, dict[int, float]], unigram_entropy: float | None) -> tuple[float, float] | None:
    """Ends of the axis where the start of a run would press all that follows into a line; else None."""
    points = [point for curve in curves.values() for point in curve.items()]
    last = max(step for step, _ in points)
    late = [loss for step, loss in points if step >= WILD_START * last]
    late += [] if unigram_entropy is None else [unigram_entropy]
    low, high = min(late), max(late)
    is_wild = max(loss for _, loss in points) > high + 3 * (high - low) > high
    margin = 0.05 * (high - low)
    return (low - margin, high + margin) if is_wild else None

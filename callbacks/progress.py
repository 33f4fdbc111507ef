"""How far the run is: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.utilities.types import STEP_OUTPUT
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from callbacks.run_folder import run_folder
from callbacks.steps import at_logging_step

SHOWN = {  # metric -> how a line shows it
    "train/loss": "loss {:.3f}",
    "val/loss": "val {:.3f}",
    "train/lr": "lr {:.1e}",
    "train/grad_norm": "grad {:.2f}",
    "meter/mfu": "mfu {:.1%}",
}


class Progress(ProgressBar):
    """Shows step, loss, learning rate, throughput, MFU, memory and the time left.

    In a terminal this is one bar that refreshes with each logging step; when the output is a file or a pipe, it is one
    line for each logging step: `step 400  loss 2.913  lr 2.7e-04  41.2k token/s  mfu 38.2%  mem 11.3 GiB  eta 0:42`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        self._started_at = 0.0
        self._started_step = 0

    @property
    def is_enabled(self) -> bool:
        """Whether anything is shown; only on rank 0 (`LightningModule.print` asks)."""
        return self._enabled

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._started_at, self._started_step = time.monotonic(), trainer.global_step
        if self._enabled and sys.stdout.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
            self._bar = RichProgress(*columns, console=Console(), transient=False)
            total = trainer.max_steps if trainer.max_steps > 0 else None
            self._task = self._bar.add_task("step 0", total=total, completed=trainer.global_step)
            self._bar.start()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        if not self._enabled or not at_logging_step(trainer, batch_idx):
            return
        line = "  ".join(self._parts(trainer))
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=line, completed=trainer.global_step)
        else:
            print(f"{line}  eta {self._eta(trainer)}", flush=True)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn == "validate":
            self._tell_folder(trainer)
        if not self._enabled or trainer.sanity_checking or trainer.state.fn != "fit":
            return
        chosen = trainer.progress_bar_metrics  # what a recipe with many metrics wants to be seen
        metrics = chosen if any(name.startswith("val/") for name in chosen) else trainer.callback_metrics
        words = [f"{name} {float(metrics[name]):.4f}" for name in sorted(metrics) if name.startswith("val/")]
        self.print(f"step {trainer.global_step}  validation: " + "  ".join(words))

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._stop()
        self._tell_folder(trainer)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._tell_folder(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._stop()

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print above the bar (`LightningModule.print` arrives here)."""
        if not self._enabled:
            return
        if self._bar is not None:
            self._bar.console.print(*args, highlight=False, **kwargs)
        else:
            print(*args, flush=True, **kwargs)

    def _tell_folder(self, trainer: L.Trainer) -> None:
        if self._enabled:
            print(f"run folder: {run_folder(trainer)}", flush=True)

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _parts(self, trainer: L.Trainer) -> list[str]:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        parts = [f"step {trainer.global_step}"]
        parts += [shape.format(metrics[name]) for name, shape in SHOWN.items() if name in metrics]
        for name, value in metrics.items():
            if name.startswith("meter/") and name.endswith("s_per_second") and "flops" not in name:
                parts.append(f"{_short(value)} {name.removeprefix('meter/').removesuffix('s_per_second')}/s")
        if torch.cuda.is_available():
            parts.append(f"mem {torch.cuda.max_memory_reserved() / 2**30:.1f} GiB")
        return parts

    def _eta(self, trainer: L.Trainer) -> str:
        done = trainer.global_step - self._started_step
        if trainer.max_steps <= 0 or done <= 0:
            return "unknown"
        seconds = (time.monotonic() - self._started_at) / done * (trainer.max_steps - trainer.global_step)
        minutes, seconds = divmod(int(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _short(value: float) -> str:
    """1234567 as 1.23M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"

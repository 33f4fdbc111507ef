"""What each callback of a recipe adds to a step: microseconds in its batch hooks, away from logging steps.

    python -m benchmarks.callback_overhead [--steps 20000]

A step on a GPU takes milliseconds; what stands here is all that a run pays between two logging steps, as nothing in
these hooks waits for the device.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import lightning as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from callbacks import FiniteLoss, GradientNorm, InferenceAwareCost, LastCheckpoint, Meter, Progress, RunFolder
from modules.contracts import CostProfile


class Nothing(L.LightningModule):
    """A recipe that computes next to nothing, so that hooks are all there is to time."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.layer(batch).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)

    def cost_profile(self) -> CostProfile:
        return CostProfile("token", 2, 2, 2, 6.0, 2.0, 2.0, 8.0)

    def count_units(self, batch: Tensor) -> int:
        return len(batch)


def microseconds(callback: L.Callback, trainer: L.Trainer, model: Nothing, num_steps: int) -> float:
    """Mean time of the callback's batch hooks and its hook before the optimizer step."""
    batch, optimizer = torch.ones(1, 1), trainer.optimizers[0]
    outputs = {"loss": torch.zeros(())}
    start = time.perf_counter()
    for step in range(num_steps):
        callback.on_train_batch_start(trainer, model, batch, step)
        callback.on_before_optimizer_step(trainer, model, optimizer)
        callback.on_train_batch_end(trainer, model, outputs, batch, step)
    return (time.perf_counter() - start) / num_steps * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20_000, help="calls that are averaged")
    num_steps = parser.parse_args().steps
    callbacks = [Meter(), Progress(), GradientNorm(), FiniteLoss(), LastCheckpoint(), InferenceAwareCost()]
    with tempfile.TemporaryDirectory() as folder:
        trainer = L.Trainer(
            accelerator="cpu",
            max_steps=1,
            log_every_n_steps=1_000_003,  # no multiple of it is reached
            logger=False,
            enable_model_summary=False,
            callbacks=[RunFolder(Path(folder), config=""), *callbacks],
        )
        model = Nothing()
        trainer.fit(model, DataLoader(torch.ones(1, 1)))
        print(f"\n| callback | us per step (mean of {num_steps}) |\n| --- | --- |")
        for callback in callbacks:
            print(f"| {type(callback).__name__} | {microseconds(callback, trainer, model, num_steps):.1f} |")


if __name__ == "__main__":
    main()

"""A model and a Trainer small enough to run a callback in a blink."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from callbacks import MetricsCsv, RunFolder
from modules.contracts import CostProfile


class Line(L.LightningModule):
    """Fits y = x W with noise from the global generator; its loss is NaN at `nan_step`."""

    def __init__(self, nan_step: int | None = None) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1, bias=False)
        self.nan_step = nan_step
        self.losses: list[float] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss = (self.layer(batch + torch.randn_like(batch)) ** 2).mean()
        if self.global_step == self.nan_step:
            loss = loss * torch.nan
        self.losses.append(float(loss.detach()))
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def cost_profile(self) -> CostProfile:
        return CostProfile("token", 4, 4, 4, 24.0, 8.0, 8.0, 16.0)

    def count_units(self, batch: Tensor) -> int:
        return len(batch)


class ValidatedLine(Line):
    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val/loss", self.layer(batch).square().mean())


class Endless(IterableDataset):
    """The same batch for ever: a stream without length, as our own recipes read."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch

    def __iter__(self) -> Iterator[Tensor]:
        return itertools.repeat(self.batch)


def endless(batch: Any) -> DataLoader:
    return DataLoader(Endless(batch), batch_size=None, generator=torch.Generator())


@pytest.fixture
def stream() -> Callable[[Any], DataLoader]:
    return endless


@pytest.fixture
def zeros() -> DataLoader:
    return endless(torch.zeros(5, 4))


@pytest.fixture
def batches() -> DataLoader:
    return endless(torch.arange(20.0).reshape(5, 4) / 20)


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., L.Trainer]:
    def make(*callbacks: L.Callback, **arguments: Any) -> L.Trainer:
        torch.manual_seed(0)
        defaults: dict[str, Any] = {
            "accelerator": "cpu",
            "max_steps": 10,
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": any(isinstance(c, Checkpoint) for c in callbacks),
            "num_sanity_val_steps": 0,
            "logger": MetricsCsv(tmp_path),
        }
        folder = RunFolder(tmp_path, config="seed_everything: 1\n")
        return L.Trainer(callbacks=[folder, *callbacks], **(defaults | arguments))

    return make


@pytest.fixture
def line() -> Callable[..., Line]:
    """Builds the same model each time."""

    def make(*, validated: bool = False, **arguments: Any) -> Line:
        torch.manual_seed(1)
        return (ValidatedLine if validated else Line)(**arguments)

    return make

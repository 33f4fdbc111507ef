"""Small classes with every kind of slot, to be named by the configurations of the command line's tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

import lightning as L
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    """Base class of a slot."""

    def __init__(self, dim: int, *, activation: Literal["gelu", "relu"] = "gelu") -> None:
        super().__init__()
        if dim % 2:
            raise ValueError(f"dim={dim} must be even")
        self.layer = nn.Linear(dim, 1)
        self.activation = activation


class DeepNet(Net):
    """A subclass with one more option."""

    def __init__(self, dim: int, *, num_layers: int = 1) -> None:
        super().__init__(dim)
        self.num_layers = num_layers


class Norm(nn.Module):
    """Built as `norm(dim)`."""

    def __init__(self, dim: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps


class Decay:
    """A schedule."""

    def __init__(self, start: float = 1.0, *, end: float = 0.0) -> None:
        self.start, self.end = start, end

    def __call__(self, fraction: float) -> float:
        return self.start + (self.end - self.start) * fraction


def constant(fraction: float) -> float:
    """A schedule that is a function."""
    return 1.0


@dataclass(frozen=True)
class Limits:
    """A group of options."""

    low: float = 0.0
    high: float = 1.0


class TinyModel(L.LightningModule):
    """A model with every kind of slot."""

    def __init__(
        self,
        net: Net,
        *,
        optimizer: OptimizerCallable,
        schedule: Callable[[float], float] = constant,
        norm: Callable[[int], Norm] | None = None,
        nets: list[Net] | None = None,
        limits: Limits = Limits(),
        name: str = "tiny",
        lr_range: tuple[float, float] = (0.0, 1.0),
        patience: timedelta | None = None,
        vocab_file: str | Path | None = None,
        stop: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["net", "optimizer", "schedule", "norm", "nets"])
        self.net, self.optimizer, self.schedule, self.norm, self.nets = net, optimizer, schedule, norm, nets
        self.limits, self.name, self.stop = limits, name, stop

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        if self.stop:
            os.kill(os.getpid(), signal.SIGTERM)
        return self.net.layer(batch[0]).square().mean()

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val/loss", self.net.layer(batch[0]).square().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer(self.parameters())


class PlainModel(L.LightningModule):
    """A model whose hyper-parameters are all in its checkpoint."""

    def __init__(self, name: str = "plain") -> None:
        super().__init__()
        self.save_hyperparameters()
        self.name = name

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val/loss", batch[0].mean())


class DefaultModel(L.LightningModule):
    """A model whose optimizer has a class as its default."""

    def __init__(self, optimizer: OptimizerCallable = torch.optim.AdamW) -> None:
        super().__init__()
        self.optimizer = optimizer


class TinyData(L.LightningDataModule):
    """Eight rows of ones; touches nothing before `setup`."""

    def __init__(self, num_rows: int = 8, *, dim: int = 4) -> None:
        super().__init__()
        self.num_rows, self.dim = num_rows, dim
        self.touched = False

    def prepare_data(self) -> None:
        self.touched = True
        Path("prepared").touch()

    def setup(self, stage: str) -> None:
        self.touched = True

    def train_dataloader(self) -> DataLoader:
        return DataLoader(TensorDataset(torch.ones(self.num_rows, self.dim)), batch_size=2)

    def val_dataloader(self) -> DataLoader:
        return self.train_dataloader()

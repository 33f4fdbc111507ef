"""Helpers of tests that stop a run: in a process of its own by a signal, or in this one by an error."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, TypeVar

import lightning as L
import torch
from torch import Tensor

from callbacks.metrics_csv import read_metrics

REPOSITORY = Path(__file__).parents[2]
Model = TypeVar("Model", bound=L.LightningModule)


def galley_process(*words: str, cwd: Path) -> subprocess.Popen[str]:
    """A command of `galley`, running in `cwd`."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "recipes", *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=cwd, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    """What a process has written, once it ended with `code`."""
    output, _ = process.communicate(timeout=300)
    assert process.returncode == code, output[-3000:]
    return output


def wait_for_step(runs: Path, step: int, process: subprocess.Popen[str]) -> Path:
    """The folder of the only run in `runs`, as soon as its metrics hold `step`."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        found = list(runs.glob("*/metrics.csv"))
        if found and max(read_metrics(found[0]).get("train/loss", {-1: 0})) >= step:
            return found[0].parent
        time.sleep(0.005)
    output, _ = process.communicate(timeout=10)
    raise AssertionError(output[-3000:])


def last_checkpoint(folder: Path) -> dict[str, Any]:
    """What a run has saved last."""
    checkpoint: dict[str, Any] = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    return checkpoint


def dies_at_step(model: Model, step: int) -> Model:
    """The model, but its training ends with an error: nothing after the last checkpoint counts."""
    training_step = model.training_step

    def dying(batch: Any, batch_idx: int) -> Tensor:
        if model.global_step == step:
            raise RuntimeError("killed")
        return training_step(batch, batch_idx)

    model.training_step = dying  # type: ignore[method-assign]
    return model

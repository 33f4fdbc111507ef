"""Every overlay that no family owns runs: two steps of a tiny recipe, on this processor whatever the overlay asks."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from callbacks.metrics_csv import read_metrics
from recipes.__main__ import main
from recipes.config.files import REPOSITORY, overlays

OVERLAYS = [name for path in overlays() if (name := path.relative_to(REPOSITORY).as_posix()).startswith("yaml/_")]
TRACKERS = {"wandb": "wandb", "mlflow": "mlflow"}
HERE = ("--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.precision=32-true", "--trainer.max_steps=2")
WRITES = {"csv": "csv/metrics.csv", "tensorboard": "tensorboard/events.*", "profile": "*profile*"}
"""What an overlay leaves in the folder of a run."""


@pytest.fixture(autouse=True)
def _one_process() -> Iterator[None]:
    yield
    if torch.distributed.is_initialized():  # ddp and fsdp leave their group of one to the end of the process
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlay_trains_two_steps(overlay: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = Path(overlay).stem
    if name in TRACKERS and find_spec(TRACKERS[name]) is None:
        pytest.skip(f"{TRACKERS[name]} is not installed")
    monkeypatch.chdir(home)
    monkeypatch.setenv("WANDB_MODE", "offline")
    before = set(home.glob("runs/mosaicbert/tiny/*"))
    here = HERE[3:] if name == "cpu" else HERE
    assert (
        main(["fit", "-c", "yaml/mosaicbert/tiny.yaml", "-c", "yaml/mosaicbert/_tiny.yaml", "-c", overlay, *here]) == 0
    )
    (run,) = set(home.glob("runs/mosaicbert/tiny/*")) - before
    metrics = read_metrics(run / "metrics.csv")
    assert list(metrics["train/loss"]) == [0, 1]
    assert ("val/loss" in metrics) == (name not in ("overfit", "profile"))
    assert name not in WRITES or list(run.glob(WRITES[name]))

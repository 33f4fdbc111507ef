"""Two processes make the same update as one: the global batch is the same, however it is laid out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from callbacks.metrics_csv import read_metrics

SCRIPT = Path(__file__).parent / "train_two_ranks.py"
REPOSITORY = Path(__file__).parents[2]


def run_script(*words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *words], env=environment, capture_output=True, text=True, timeout=300
    )


def train(strategy: str, devices: int, corpus: Path, folder: Path) -> dict[str, torch.Tensor]:
    done = run_script(strategy, str(devices), str(corpus), str(folder))
    assert done.returncode == 0, done.stderr[-3000:]
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert len(checkpoint["random_states"]) == devices
    return checkpoint["state_dict"]


@pytest.fixture(scope="module")
def one_process(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, torch.Tensor], Path]:
    folder = tmp_path_factory.mktemp("one")
    return train("auto", 1, corpus, folder), folder


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_are_one(
    one_process: tuple[dict[str, torch.Tensor], Path], corpus: Path, tmp_path: Path, strategy: str
) -> None:
    one, folder = one_process
    two = train(strategy, 2, corpus, tmp_path)
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name].double(), value.double(), rtol=1e-9, atol=1e-10)
    metrics = [read_metrics(path / "metrics.csv") for path in (folder, tmp_path)]
    for name in ("train/loss", "train/accuracy", "val/loss", "val/accuracy", "meter/tokens"):
        assert metrics[1][name] == pytest.approx(metrics[0][name], rel=1e-4), name
    reports = [json.loads((path / "lifetime_cost.json").read_text()) for path in (folder, tmp_path)]
    assert reports[1]["run"]["units"] == reports[0]["run"]["units"] == metrics[0]["meter/tokens"][2]
    assert reports[1]["training"]["flops"] == reports[0]["training"]["flops"]


@pytest.mark.parametrize("failing_rank", [0, 1])
def test_a_rank_that_fails_neither_hangs_nor_hides_the_cost(corpus: Path, tmp_path: Path, failing_rank: int) -> None:
    done = run_script("ddp", "2", str(corpus), str(tmp_path), str(failing_rank))
    assert done.returncode != 0
    assert f"rank {failing_rank} fails" in done.stderr
    report = json.loads((tmp_path / "lifetime_cost.json").read_text())
    first_step = read_metrics(tmp_path / "metrics.csv")["meter/tokens"][0]
    assert report["run"]["units"] == pytest.approx(first_step, rel=0.5)
    assert report["training"]["device_hours"] > 0


def test_two_ranks_go_on_with_a_dropout_of_their_own(corpus: Path, tmp_path: Path) -> None:
    finals = {}
    for name, failing_ranks in (("whole", ["-1"]), ("stopped", ["0", "-1"])):
        for rank in failing_ranks:
            done = run_script("ddp", "2", str(corpus), str(tmp_path / name), rank, "0.1")
            assert (done.returncode == 0) == (rank == "-1"), done.stderr[-3000:]
        finals[name] = torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)
    first, second = (state["torch"] for state in finals["whole"]["random_states"])
    assert not torch.equal(first, second)
    for name, value in finals["whole"]["state_dict"].items():
        assert torch.equal(value, finals["stopped"]["state_dict"][name]), name

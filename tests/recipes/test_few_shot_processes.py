"""Few-shot runs of several processes, and of one that is killed: two ranks make the update of one, a resume goes on."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from interrupted_runs import REPOSITORY, finish, galley_process, last_checkpoint, wait_for_step
from train_few_shot_ranks import main as train

from callbacks.metrics_csv import read_metrics
from recipes.__main__ import main

SCRIPT = Path(__file__).parent / "train_few_shot_ranks.py"
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore"}
NUM_STEPS = 150


def test_two_ranks_are_one(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "2", str(tmp_path / "2")]
    done = subprocess.run(command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    train(1, tmp_path / "1")
    one, two = (last_checkpoint(tmp_path / devices)["state_dict"] for devices in ("1", "2"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-9, atol=1e-10)
    metrics = [read_metrics(tmp_path / devices / "metrics.csv") for devices in ("1", "2")]
    for name in ("train/loss", "val/nll", "val/nll_se", "val/rmse", "val/joint_nll", "meter/task_points"):
        assert metrics[1][name] == pytest.approx(metrics[0][name], rel=1e-6), name
    tables = [list(csv.DictReader((tmp_path / d / "val_scores.csv").read_text().splitlines())) for d in ("1", "2")]
    assert [row["digest"] for row in tables[0]] == [row["digest"] for row in tables[1]]
    for ours, theirs in zip(*tables, strict=True):
        assert float(ours["nll"]) == pytest.approx(float(theirs["nll"]), rel=1e-6)


def words_of_a_fit(home: Path) -> list[str]:
    overlay = home / "often.yaml"
    overlay.write_text(
        "trainer:\n  callbacks: [callbacks.Meter, callbacks.ScoreWriter, "
        "{class_path: callbacks.LastCheckpoint, init_args: {every_n_steps: 7}}]\n"
    )
    yamls = [REPOSITORY / "yaml" / "vmgp" / "floor.yaml", REPOSITORY / "yaml" / "vmgp" / "_tiny.yaml", overlay]
    words = [word for path in yamls for word in ("-c", str(path))]
    return ["fit", *words, f"--trainer.max_steps={NUM_STEPS}", "--trainer.val_check_interval=50"]


def test_killed_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    homes = [tmp_path / "whole", tmp_path / "killed"]
    for home in homes:
        home.mkdir()
    process = galley_process(*words_of_a_fit(homes[1]), cwd=homes[1])
    folder = wait_for_step(homes[1] / "runs" / "vmgp" / "floor", 10, process)
    process.send_signal(signal.SIGKILL)
    finish(process, -signal.SIGKILL)
    assert 7 <= last_checkpoint(folder)["global_step"] < NUM_STEPS
    monkeypatch.chdir(homes[1])
    assert main(["resume", str(folder), "--", "--data.num_workers=1"]) == 0
    monkeypatch.chdir(homes[0])
    assert main(words_of_a_fit(homes[0])) == 0
    (whole,) = homes[0].glob("runs/vmgp/floor/*")
    ended = [last_checkpoint(run) for run in (whole, folder)]
    assert ended[1]["global_step"] == NUM_STEPS
    for name, value in ended[0]["state_dict"].items():
        assert torch.equal(value, ended[1]["state_dict"][name]), name
    metrics = [read_metrics(run / "metrics.csv") for run in (whole, folder)]
    for name in ("train/loss", "train/lr", "val/loss", "val/crps", "meter/task_points"):
        assert metrics[0][name] == metrics[1][name], name
    assert (whole / "val_scores.csv").read_bytes() == (folder / "val_scores.csv").read_bytes()

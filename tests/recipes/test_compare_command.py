"""`galley compare`: the table of runs, their paired differences, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from callbacks.score_writer import write_scores
from modules.scores import ScoreSheet, TaskScores
from recipes.__main__ import main

NUM_TASKS = 200
Capture = pytest.CaptureFixture[str]


def scores(shift: float, seed: int) -> TaskScores:
    """Tasks differ much, learners little: `shift`, and a tenth of the tasks' own spread."""
    of_tasks = torch.randn(NUM_TASKS, generator=torch.Generator().manual_seed(0)).double()
    own = torch.randn(NUM_TASKS, generator=torch.Generator().manual_seed(seed)).double()
    value = of_tasks + 0.1 * own + shift
    values = {"nll": value, "log_loss": value + 1, "crps": value + 2, "squared_error": (value + 5).square()}
    values["coverage_90"] = torch.full_like(value, 0.9)
    nothing = torch.zeros(NUM_TASKS, 1, 1), torch.ones(NUM_TASKS, 1, dtype=torch.bool)
    return TaskScores(values, *nothing)


def write_run(folder: Path, shift: float, seed: int, *, oracle: bool = False, tasks: str = "task") -> str:
    digests = [f"{tasks}{number}" for number in range(NUM_TASKS)]
    best = scores(-0.5, 9) if oracle else None
    sheet = ScoreSheet(5, digests, scores(shift, seed), best, least_support=2)
    write_scores([sheet], folder / "test_scores.csv")
    return str(folder)


def cells(text: str, row: str) -> list[tuple[float, float]]:
    (line,) = [line for line in text.splitlines() if line.startswith(row)]
    return [(float(mean), float(error)) for mean, error in re.findall(r"(-?[\d.]+) \+- ([\d.]+)", line)]


def test_means_errors_and_paired_differences(tmp_path: Path, capsys: Capture) -> None:
    first = write_run(tmp_path / "first", 0.0, 1, oracle=True)
    second = write_run(tmp_path / "second", 0.3, 2)
    (tmp_path / "second" / "command.txt").write_text("/far/bin/galley fit -c b.yaml\n/far/bin/galley resume second\n")
    assert main(["compare", first, second]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{second}: galley fit -c b.yaml\n\n")
    assert "200 tasks, 2 to 5 support points: mean" in text
    one, two = scores(0.0, 1).values, scores(0.3, 2).values
    expected = [one[name].mean() for name in ("log_loss", "nll", "crps")] + [one["squared_error"].mean().sqrt(), 0.9]
    assert [mean for mean, _ in cells(text, f"{first} ")] == pytest.approx([float(e) for e in expected], abs=1e-4)
    assert cells(text, "oracle")[1][0] == pytest.approx(float(scores(-0.5, 9).values["nll"].mean()), abs=1e-4)
    mean, error = cells(text, f"{second} - first")[1]
    assert mean == pytest.approx(float((two["nll"] - one["nll"]).mean()), abs=1e-4)
    assert error == pytest.approx(0.1 * (2 / NUM_TASKS) ** 0.5, rel=0.2)  # what makes a task hard cancels
    assert cells(text, f"{first} ")[1][1] > 5 * error
    rmse = two["squared_error"].mean().sqrt() - one["squared_error"].mean().sqrt()
    assert cells(text, f"{second} - first")[3][0] == pytest.approx(float(rmse), abs=1e-4)
    assert cells(text, "first - oracle")[0][0] == pytest.approx(0.5, abs=0.05)


def test_what_cannot_be_compared_is_refused(tmp_path: Path, capsys: Capture) -> None:
    first = write_run(tmp_path / "first", 0.0, 1)
    other = write_run(tmp_path / "other", 0.0, 2, tasks="other")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "test_scores.csv").write_text("a,b\n1,2\n")
    mixed = write_run(tmp_path / "mixed", 0.0, 3)
    path = tmp_path / "mixed" / "test_scores.csv"
    path.write_text(re.sub(r"^\d+,\d+,", "10,0,", path.read_text(), flags=re.MULTILINE))
    for words, message in (
        ([first, other], "was scored on other tasks"),
        ([first, mixed], "has tasks of 0 to 10 support points"),
        ([first], "two runs or more"),
        ([first, first], "named twice"),
        ([first, str(tmp_path / "nowhere")], "no such run folder"),
        ([first, str(tmp_path)], "galley test --ckpt_path=... writes it"),
        ([first, other, "--split=val"], "galley fit writes it"),
        ([first, str(tmp_path / "broken")], "no scores of tasks"),
    ):
        assert main(["compare", *words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line

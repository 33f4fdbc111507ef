"""The cells of the few-shot results table: one file for each environment, learner and seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from callbacks.files import written_whole
from modules.scores import ScoreSheet, TaskScores

ORACLE = "oracle"


@dataclass(frozen=True)
class Cell:
    """One file of the table.

    Attributes:
        tasks: An overlay in yaml/vmgp/_tasks.
        learner: An overlay in yaml/vmgp/_learner, or `ORACLE`: the Bayes-optimal predictive of the environment.
        seed: Of initial weights, training tasks and everything else but the test tasks.
        steps: Optimizer steps.
        num_test_tasks: Tasks that it is scored on.
    """

    tasks: str
    learner: str
    seed: int
    steps: int
    num_test_tasks: int = 2000

    def path(self, folder: Path) -> Path:
        """Where the cell lies below `folder`."""
        name = self.learner if self.learner == ORACLE else f"{self.learner}-{self.steps}-{self.seed}"
        return folder / self.tasks / f"{name}-{self.num_test_tasks}.pt"


@dataclass(frozen=True)
class Filled:
    """What a cell holds.

    Attributes:
        sheet: Scores of all test tasks.
        seconds: Of training, with the drawing of its tasks.
        versions: Of torch and of this repository.
    """

    sheet: ScoreSheet
    seconds: float
    versions: str


def write_cell(path: Path, filled: Filled) -> None:
    """Write a cell, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as temporary:
        torch.save(asdict(filled), temporary)


def read_cell(path: Path) -> Filled:
    """Read a cell."""
    plain = torch.load(path, weights_only=True)
    sheet = plain["sheet"]
    scores = TaskScores(**sheet["model"])
    return Filled(ScoreSheet(sheet["num_support"], sheet["digests"], scores), plain["seconds"], plain["versions"])

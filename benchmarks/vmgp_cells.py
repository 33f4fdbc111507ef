"""The cells of the few-shot results table: one file for each environment, learner and seed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import torch

from callbacks.files import written_whole
from modules.scores import ScoreSheet, TaskScores
from recipes.config.compose import compose

ORACLE = "oracle"
OF_THE_RECIPE = "vmgp"
"""The learner that `floor.yaml` has without an overlay."""
YAML = Path(__file__).parents[1] / "yaml" / "vmgp"


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
        """Where the cell lies below `folder`. Another recipe is another cell."""
        name = self.learner if self.learner == ORACLE else f"{self.learner}-{self.steps}-{self.seed}"
        return folder / self.tasks / f"{name}-{self.num_test_tasks}-{_recipe_digest(self.tasks, self.learner)}.pt"

    @property
    def configs(self) -> list[str]:
        """The YAML files of its recipe."""
        return _configs(self.tasks, self.learner)


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


def _configs(tasks: str, learner: str) -> list[str]:
    overlays = [] if learner in (ORACLE, OF_THE_RECIPE) else [YAML / "_learner" / f"{learner}.yaml"]
    # the tasks come last: they may widen the learner's input
    return [str(path) for path in (YAML / "floor.yaml", *overlays, YAML / "_tasks" / f"{tasks}.yaml")]


@cache
def _recipe_digest(tasks: str, learner: str) -> str:
    """Short hash of what the YAML files say of model and data; an oracle knows no model."""
    tree = compose([word for path in _configs(tasks, learner) for word in ("-c", path)]).tree.plain()
    recipe = (
        [tree["data"]] if learner == ORACLE else [tree["data"], tree["model"], tree["trainer"]["gradient_clip_val"]]
    )
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:8]


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

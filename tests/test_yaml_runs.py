"""Every recipe trains two steps with its family's `_tiny.yaml` and leaves behind what a run leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import torch

from callbacks.metrics_csv import read_metrics
from modules.scaling import LIFETIME_COST_SCHEMA
from recipes.__main__ import main

YAML = Path(__file__).parents[1] / "yaml"
RECIPES = sorted(
    path.relative_to(YAML).as_posix()
    for path in YAML.glob("*/*.yaml")
    if not path.name.startswith("_") and not path.parent.name.startswith("_")
)

POOL = {"num_train_tasks": 2, "num_val_tasks": 2, "num_test_tasks": 2, "num_points": 10}
SMALLER = {"vmgp/pendulum.yaml": [f"--data.tasks.{name}={value}" for name, value in POOL.items()]}
"""What `_tiny.yaml` cannot make small for one recipe alone."""

HIGHEST_LOSS = {"mosaicbert": 20, "vmgp": 200}
"""After two steps, which teach nothing; untrained few-shot learners are sure of themselves."""

LEFT_BEHIND = {"config.yaml", "command.txt", "environment.json", "loss.png", "lifetime_cost.md", "lifetime_cost.png"}
LEFT_BEHIND_TOO = {"mosaicbert": set(), "vmgp": {"val_scores.csv", "predictive.png"}}


@pytest.mark.parametrize("recipe", RECIPES)
def test_two_steps(recipe: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    family = recipe.split("/")[0]
    words = ["fit", "-c", f"yaml/{recipe}", "-c", f"yaml/{family}/_tiny.yaml", *SMALLER.get(recipe, [])]
    before = set(home.glob(f"runs/{recipe.removesuffix('.yaml')}/*"))
    assert main(words) == 0
    (run,) = set(home.glob(f"runs/{recipe.removesuffix('.yaml')}/*")) - before
    metrics = read_metrics(run / "metrics.csv")
    assert list(metrics["train/loss"]) == [0, 1]
    assert 0 < metrics["val/loss"][1] < HIGHEST_LOSS[family]
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 2
    jsonschema.validate(json.loads((run / "lifetime_cost.json").read_text()), LIFETIME_COST_SCHEMA)
    assert LEFT_BEHIND | LEFT_BEHIND_TOO[family] <= {path.name for path in run.iterdir()}


def test_there_are_recipes() -> None:
    assert len(RECIPES) >= 4

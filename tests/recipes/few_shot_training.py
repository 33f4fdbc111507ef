"""Training a few-shot learner for tests that ask how well it learns."""

from __future__ import annotations

import lightning as L
import torch

from benchmarks.vmgp_table import score, trainer
from modules.scores import ScoreSheet
from recipes import load


def trained(
    tasks: str, *options: str, learner: str | None = None, steps: int, num_test_tasks: int = 1000
) -> ScoreSheet:
    """Scores of a learner on test tasks that depend on nothing but their family.

    Args:
        tasks: An overlay in yaml/vmgp/_tasks.
        options: Of the configuration.
        learner: An overlay in yaml/vmgp/_learner; None: the demo's VMGP.
        steps: Of training.
        num_test_tasks: Tasks to score.
    """
    files = ["yaml/vmgp/floor.yaml", f"yaml/vmgp/_tasks/{tasks}.yaml"]
    files += [f"yaml/vmgp/_learner/{learner}.yaml"] if learner else []
    L.seed_everything(0, verbose=False)
    model, data = load(files, f"--data.init_args.num_test_tasks={num_test_tasks}", *options)
    trainer(steps).fit(model, datamodule=data)
    return score(model, data)


def oracle(tasks: str, *options: str, num_test_tasks: int = 1000) -> ScoreSheet:
    """Scores of the Bayes-optimal predictive on the same tasks."""
    files = ["yaml/vmgp/floor.yaml", f"yaml/vmgp/_tasks/{tasks}.yaml"]
    model, data = load(files, f"--data.init_args.num_test_tasks={num_test_tasks}", *options)
    data.setup("test")
    return score(model, data, data.oracle_prediction)


def gain(ours: ScoreSheet, theirs: ScoreSheet, name: str) -> tuple[float, float]:
    """Mean over tasks of (their score - our score), and its standard error: positive where ours is better."""
    assert ours.digests == theirs.digests
    difference = (theirs.model.values[name] - ours.model.values[name]).double()
    return float(difference.mean()), float(difference.std() / torch.tensor(len(difference)).sqrt())

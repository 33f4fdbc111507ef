"""The scores of single tasks that runs leave behind, read from `val_scores.csv` and `test_scores.csv`.

Letters: B tasks.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from callbacks.score_writer import KEYS


@dataclass(frozen=True)
class Scores:
    """Scores of B tasks by one predictor.

    Attributes:
        least_support: Support points of the task that has the fewest.
        digests: What each task is.
        values: Each float64[B].
    """

    least_support: int
    digests: tuple[str, ...]
    values: dict[str, Tensor]


ScoreFile = dict[tuple[int, str], Scores]
"""By the (most) support points of a task and by who predicted: "model" or "oracle"."""


def read_scores(run: Path, split: str) -> ScoreFile:
    """The scores of a run.

    Args:
        run: Its folder.
        split: "val" or "test".

    Raises:
        ValueError: The folder or the file is missing, or the file is none of ours.
    """
    path = run / f"{split}_scores.csv"
    if not run.is_dir():
        raise ValueError(f"{run}: no such run folder")
    if not path.is_file():
        how = (
            "galley test --ckpt_path=... writes it, into the folder of its own run"
            if split == "test"
            else "galley fit writes it at each validation (trainer.val_check_interval)"
        )
        raise ValueError(f"{path}: no such file; {how}, where callbacks.ScoreWriter is among the callbacks")
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
        names = [name for name in reader.fieldnames or () if name not in KEYS]
    if not rows or not set(KEYS) <= rows[0].keys():
        raise ValueError(f"{path}: no scores of tasks; the columns {', '.join(KEYS)} and the scores are expected")
    groups: dict[tuple[int, str], list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        groups[int(row["support"]), row["of"]].append(row)
    return {key: _scores(group, names) for key, group in groups.items()}


def _scores(rows: list[dict[str, str]], names: list[str]) -> Scores:
    columns = {name: torch.tensor([float(row[name]) for row in rows], dtype=torch.float64) for name in names}
    return Scores(int(rows[0]["least_support"]), tuple(row["digest"] for row in rows), columns)

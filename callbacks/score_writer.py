"""The scores of every evaluation task in a file: what differences between runs are computed from."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L

from callbacks.files import written_whole
from callbacks.run_folder import run_folder
from modules.scores import ScoreSheet

KEYS = ("support", "least_support", "task", "digest", "of")
"""Columns before the scores."""


class ScoreWriter(L.Callback):
    """Writes `val_scores.csv` after each validation and `test_scores.csv` after a test, whole or not at all.

    One row for each task and size of support (`support`, and `least_support` where tasks differ: the fewest points that
    one has), `of` the model and, where it was asked, `of` the oracle; the scores are those of
    `modules.scores.TaskScores`. `galley compare` reads these files. For recipes with `sheets`, such
    as `recipes.MetaRegression`.
    """

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.sanity_checking:
            self._write(trainer, pl_module, "val")

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._write(trainer, pl_module, "test")

    def _write(self, trainer: L.Trainer, pl_module: L.LightningModule, split: str) -> None:
        sheets: list[ScoreSheet] = pl_module.sheets  # type: ignore[assignment]
        if trainer.is_global_zero and sheets:
            write_scores(sheets, run_folder(trainer) / f"{split}_scores.csv")


def write_scores(sheets: list[ScoreSheet], path: Path) -> None:
    """Write the scores of all tasks of some sheets, which have the same scores, to a CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(sheets[0].model.values)
    with written_whole(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*KEYS, *names])
        for sheet in sheets:
            writer.writerows(_rows(sheet, names))


def _rows(sheet: ScoreSheet, names: list[str]) -> Iterator[list[Any]]:
    least, most = sheet.support_range
    for who, scores in (("model", sheet.model), ("oracle", sheet.oracle)):
        if scores is None:
            continue
        columns = [scores.values[name].tolist() for name in names]
        for task, (digest, *values) in enumerate(zip(sheet.digests, *columns, strict=True)):
            yield [most, least, task, digest, who, *(f"{value:.9g}" for value in values)]

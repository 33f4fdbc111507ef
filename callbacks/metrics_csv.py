"""Metrics of a run as one growing CSV file."""

from __future__ import annotations

import csv
import io
import os
import time
from pathlib import Path
from typing import Any, BinaryIO

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

COLUMNS = ("step", "time", "metric", "value")


class MetricsCsv(Logger):
    """Appends a row for each value to `metrics.csv`: step, Unix time in seconds, metric, value.

    One row a value, so that the file only ever grows: a kill can cost its last row, never an earlier one, and a resumed
    run goes on in the same file. Steps that ran twice (those between the last checkpoint and a kill) stand in it twice:
    the later row counts, as `read_metrics` does. The command line gives one to every run.

    Args:
        folder: The folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = Path(folder)

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.folder)

    @property
    def path(self) -> Path:
        """The file written to."""
        return self.folder / "metrics.csv"

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: `config.yaml` of the run folder holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append one row for each metric. `step` counts optimizer steps from 0, as in every Lightning logger."""
        now = f"{time.time():.3f}"
        rows = [(step, now, name, repr(float(value))) for name, value in metrics.items() if name != "epoch"]
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            text = io.TextIOWrapper(file, newline="")
            csv.writer(text, lineterminator="\n").writerows(_beginning(file) + rows)
            text.flush()
            text.detach()


def _beginning(file: BinaryIO) -> list[tuple[Any, ...]]:
    """What must stand before new rows: the header in an empty file, the end of a row that a kill has torn."""
    if file.seek(0, os.SEEK_END) == 0:
        return [COLUMNS]
    file.seek(-1, os.SEEK_END)
    return [] if file.read(1) == b"\n" else [()]


def read_metrics(path: Path) -> dict[str, dict[int, float]]:
    """Read `metrics.csv` as {metric: {step: value}}: of a step that ran twice the later value, no torn rows."""
    metrics: dict[str, dict[int, float]] = {}
    for row in csv.reader(path.read_text().splitlines(keepends=True)[1:]):
        if len(row) == len(COLUMNS) and row[-1]:
            step, _, name, value = row
            metrics.setdefault(name, {})[int(step)] = float(value)
    return {name: dict(sorted(values.items())) for name, values in metrics.items()}

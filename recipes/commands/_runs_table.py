"""A table of finished runs, read from a CSV."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modules.scaling.arrays import FloatArray

_OPTIONS = ("--parameters-column", "--tokens-column", "--loss-column")
_USUAL_NAMES = (("parameters", "params", "n"), ("tokens", "d"), ("loss", "smoothed loss", "final loss", "final_loss"))


@dataclass(frozen=True)
class RunsTable:
    """Finished runs, one value a run.

    Attributes:
        parameters: N, float[R].
        tokens: D, float[R].
        loss: Final loss, nats per token, float[R].
    """

    parameters: FloatArray
    tokens: FloatArray
    loss: FloatArray

    def up_to(self, tokens_per_parameter: float) -> RunsTable:
        """The runs with at most that ratio (a rounding of the ratio does not shut a run out)."""
        keep = self.tokens / self.parameters <= tokens_per_parameter * (1 + 1e-9)
        return RunsTable(self.parameters[keep], self.tokens[keep], self.loss[keep])


def read_runs(path: Path, columns: tuple[str | None, str | None, str | None]) -> RunsTable:
    """Reads sizes, tokens and losses.

    Args:
        path: A CSV with a header.
        columns: Names of the three columns; None looks for the usual ones.

    Raises:
        ValueError: no such file, column or number; the message names the line.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; give a CSV with columns for parameters, tokens and loss")
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        header = [name for name in reader.fieldnames or () if name]
        chosen = [_find(path, header, i, name) for i, name in enumerate(columns)]
        rows = [[_number(path, reader.line_num, name, row[name]) for name in chosen] for row in reader]
    return RunsTable(*np.array(rows, dtype=np.float64).reshape(-1, 3).T)


def _find(path: Path, header: list[str], column: int, name: str | None) -> str:
    wanted = (name,) if name is not None else _USUAL_NAMES[column]
    for found in header:
        if found.strip().lower() in {each.lower() for each in wanted}:
            return found
    raise ValueError(
        f"{path}: no column named {' or '.join(wanted)} among {', '.join(header)}; name it with {_OPTIONS[column]}"
    )


def _number(path: Path, line: int, name: str, text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        raise ValueError(f"{path}:{line}: {name}={text!r} is not a number") from None

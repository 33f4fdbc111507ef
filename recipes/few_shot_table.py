"""The scores of an evaluation as a table that people read."""

from __future__ import annotations

from collections.abc import Sequence

from modules.scores import ScoreSheet, support_title

WIDTH = 24
"""Of a column of values."""


def scores_table(sheets: Sequence[ScoreSheet]) -> str:
    """One line for each score, with its standard error over tasks; one column for each size of support."""
    summaries = [sheet.summary() for sheet in sheets]
    names = sorted(name for name in summaries[0] if not name.endswith("_se"))
    first = max(map(len, names))
    heads = [support_title(*sheet.support_range) for sheet in sheets]
    lines = [f"{len(sheets[0].digests)} tasks".ljust(first) + "".join(head.rjust(WIDTH) for head in heads)]
    lines += [name.ljust(first) + "".join(_cell(values, name).rjust(WIDTH) for values in summaries) for name in names]
    return "\n".join(line.rstrip() for line in lines)


def _cell(values: dict[str, float], name: str) -> str:
    error = values.get(f"{name}_se")
    return f"{values[name]:.4f}" + (" " * 10 if error is None else f" +- {error:.4f}")

"""The page and the picture made of the cells of the few-shot results table."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmarks.vmgp_cells import ORACLE, Cell, Filled, read_cell
from callbacks.files import written_whole
from modules.scores import paired_differences, summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REFERENCE = "deep_kernel_gp"
"""The learner that paired differences are taken to: one Gaussian at each query, whatever the tasks are."""
LOSSES = {"log_loss": "log-loss", "nll": "NLL"}
PANELS_A_ROW = 3
HEAD = (
    "learner",
    "seeds",
    "{loss}",
    "gap to oracle",
    "CRPS",
    f"CRPS less that of {REFERENCE}",
    "RMSE",
    "joint NLL",
    "energy",
    "90 % coverage",
    "calibration error",
    "KS of PIT",
    "ms a step",
)
INTRODUCTION = """\
# VMGP and its rivals: results

Each learner was trained for {steps} steps as `yaml/vmgp/floor.yaml` says (50 fresh tasks a step, 5 support and 5 query
points) with one overlay for the learner and one for the tasks, and scored on the same test tasks as all others.
`vmgp` is the recipe as it stands (one latent, trained on the likelihood of the queries); `vmgp_sites` and `vmgp_free`
have ten latents and the ELBO, as published. Their predictives, which are sampled, are scored with 4000 draws; oracles,
and what others draw for CRPS and energy, with at least 1000. `make vmgp-table` makes this page;
`python -m benchmarks.vmgp_table --help` tells how to fill other cells.

Tuning: the learning rate of each learner is the best of 1e-3, 3e-3 and 1e-2 by log-loss on the validation tasks of
floor (one seed); nothing was tuned on the other environments. VMGP had more tries than its rivals, all on floor: about
a dozen initial noise levels (two or three for each of the GP learners), and for `vmgp` its objective, latents and
decoder, some forty short trainings.

Values are means and standard errors over seeds (over tasks for the oracle and for a single seed); differences are
paired: means over seeds, then the mean and standard error over test tasks.

- log-loss, NLL: negative log probability of the right value where targets are discrete and free of noise, so that a
  density has no bound; else negative log density. Nats per query.
- gap to oracle: the same less that of the Bayes-optimal predictive on the same tasks.
- CRPS, energy: continuous ranked probability score of each query, energy score of a task's queries together; both in
  units of the targets.
- joint NLL: negative log density of a task's queries together, per query. Few of VMGP's draws come near all queries at
  once, so that its rows are too high, and would fall with more draws; energy has no such bias.
- 90 % coverage: share of targets in the central 90 % interval.
- calibration error: root mean square over 20 levels of the empirical less the nominal frequency.
- KS of PIT: largest distance of the probability integral transforms from the uniform distribution.
- ms a step: with the drawing of the tasks, on one core; other work shared the machine, so take it as an upper bound.

![Loss and CRPS of each learner and seed; the dashed line is the oracle](vmgp_table.png)"""
Environment = dict[str, list[Filled]]
"""Cells by learner, one a seed; the oracle is one of the learners."""


def write_page(page: Path, folder: Path, cells: Sequence[Cell]) -> None:
    """Write the page, and `vmgp_table.png` beside it, from those of the cells that are there."""
    grid: dict[str, Environment] = {}
    for cell in cells:
        if cell.path(folder).exists():
            grid.setdefault(cell.tasks, {}).setdefault(cell.learner, []).append(read_cell(cell.path(folder)))
    grid = {name: environment for name, environment in grid.items() if set(environment) - {ORACLE}}
    steps = cells[0].steps
    parts = [INTRODUCTION.format(steps=steps), *(_section(name, found, steps) for name, found in grid.items())]
    page.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(page) as temporary:
        temporary.write_text("\n\n".join([*parts, _footer(grid)]) + "\n")
    draw_grid(grid, page.parent / "vmgp_table.png")


def _section(name: str, cells: Environment, steps: int) -> str:
    loss = next(iter(cells.values()))[0].sheet.loss_name
    head = [word.format(loss=LOSSES[loss]) for word in HEAD]
    rows = [_row(head), _row(["---"] * len(head))]
    rows += [_learner_row(learner, cells, loss, steps) for learner in sorted(cells, key=lambda key: _rank(key, cells))]
    return "\n".join([f"## {name}", "", *rows])


def _rank(learner: str, cells: Environment) -> float:
    """The oracle first, then by the loss."""
    if learner == ORACLE:
        return -math.inf
    return float(torch.tensor([cell.sheet.summary()["loss"] for cell in cells[learner]]).mean())


def _learner_row(learner: str, cells: Environment, loss: str, steps: int) -> str:
    own, is_oracle = cells[learner], learner == ORACLE
    summaries = [summary(cell.sheet.model).means for cell in own]
    within = summary(own[0].sheet.model).errors

    def column(name: str, digits: int = 3) -> str:
        values = torch.tensor([means[name] for means in summaries], dtype=torch.float64)
        if not torch.isfinite(values).all():
            return "-"
        error = within.get(name) if len(values) == 1 else float(values.std()) / math.sqrt(len(values))
        return _with_error(float(values.mean()), error, digits)

    gap = "" if is_oracle or ORACLE not in cells else _paired(own, cells[ORACLE], loss)
    crps = "" if is_oracle or learner == REFERENCE or REFERENCE not in cells else _paired(own, cells[REFERENCE], "crps")
    speed = "" if is_oracle else f"{1000 * _median([cell.seconds for cell in own]) / steps:.1f}"
    names = ("rmse", "joint_nll", "energy", "coverage_90", "calibration_error", "pit_ks")
    seeds = "" if is_oracle else str(len(own))
    return _row([learner, seeds, column(loss), gap, column("crps"), crps, *map(column, names), speed])


def _paired(own: list[Filled], others: list[Filled], score: str) -> str:
    """Mean over seeds and tasks of the difference on the same tasks, with its error over tasks."""
    if own[0].sheet.digests != others[0].sheet.digests:
        raise ValueError("cells of one environment were scored on different tasks: delete the older ones")
    mine, theirs = (_mean_over_seeds(cells, score) for cells in (own, others))
    value, error = paired_differences({score: mine}, {score: theirs})[score]
    return _with_error(float(value), float(error), 3, sign="+") if math.isfinite(float(value)) else "-"


def _mean_over_seeds(cells: list[Filled], score: str) -> Tensor:
    digests = cells[0].sheet.digests
    assert all(cell.sheet.digests == digests for cell in cells), "all cells of an environment have the same test tasks"
    return torch.stack([cell.sheet.model.values[score].double() for cell in cells]).mean(dim=0)


def _with_error(value: float, error: float | None, digits: int, sign: str = "") -> str:
    number = f"{value:{sign}.{digits}f}"
    return number if error is None else f"{number} +- {error:.{digits}f}"


def _median(values: list[float]) -> float:
    return float(torch.tensor(values).median())


def _row(words: Sequence[str]) -> str:
    return f"| {' | '.join(words)} |"


def _footer(grid: dict[str, Environment]) -> str:
    cells = [cell for environment in grid.values() for filled in environment.values() for cell in filled]
    versions = sorted({cell.versions for cell in cells})
    hours = sum(cell.seconds for cell in cells) / 3600
    machine = f"Python {platform.python_version()}, {platform.machine()}"
    return f"{machine}; {'; '.join(versions)}; {hours:.1f} core hours of training."


def draw_grid(grid: dict[str, Environment], path: Path) -> None:
    """Two panels for each environment, loss and CRPS, with one dot a seed and a dashed line for the oracle."""
    from matplotlib.figure import Figure

    if not grid:
        return
    num_rows = 2 * math.ceil(len(grid) / PANELS_A_ROW)
    figure = Figure(figsize=(3.4 * PANELS_A_ROW, 2.3 * num_rows), layout="constrained")
    panels = figure.subplots(num_rows, PANELS_A_ROW, squeeze=False)
    for axes in panels.flat:
        axes.set_visible(False)
    for place, (name, cells) in enumerate(grid.items()):
        row, column = divmod(place, PANELS_A_ROW)
        loss = next(iter(cells.values()))[0].sheet.loss_name
        _draw_panel(panels[2 * row, column], cells, loss, f"{name}: {LOSSES[loss]}")
        _draw_panel(panels[2 * row + 1, column], cells, "crps", f"{name}: CRPS")
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _draw_panel(axes: Axes, cells: Environment, score: str, title: str) -> None:
    axes.set_visible(True)
    axes.set_title(title, fontsize=9)
    learners = [learner for learner in cells if learner != ORACLE]
    for height, learner in enumerate(reversed(learners)):
        values = [float(cell.sheet.model.values[score].double().mean()) for cell in cells[learner]]
        axes.plot(values, [height] * len(values), "o", markersize=4, alpha=0.7)
    if ORACLE in cells:
        best = float(cells[ORACLE][0].sheet.model.values[score].double().mean())
        if math.isfinite(best):
            axes.axvline(best, color="0.3", linestyle="--", linewidth=1)
    axes.set_yticks(range(len(learners)), list(reversed(learners)), fontsize=7)
    axes.tick_params(axis="x", labelsize=7)

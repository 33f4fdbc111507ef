"""Pictures of what a few-shot learner predicts, at each validation.

Letters: B tasks, N support points, Q query points, C columns and H heights of a heat map, E = H + 1 edges between them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Generator, Tensor

from callbacks.density_picture import TaskPanel, cell_masses, draw_tasks
from callbacks.run_folder import run_folder
from callbacks.to_loggers import log_picture
from modules.contracts import FewShotProblem, FewShotTasks, Predictive

NAME = "predictive"


class PredictivePictures(L.Callback):
    """Draws `predictive.png` after each validation, and hands it to the loggers.

    A heat map for each of a few tasks: the predictive density over x, with the support and the true targets; below it
    the Bayes-optimal predictive, where the tasks know it. With more than one input there is no axis to draw along:
    columns are then the queries in the order of their true targets, without the support. Of several target dimensions
    the first is drawn. For recipes with `predictive` and DataModules with `picture_tasks`, such as
    `recipes.MetaRegression` and `datamodules.FewShotData`.

    Args:
        num_tasks: Tasks to draw, at most as many as the DataModule gives.
        num_columns: Columns of a heat map, where there is one input.
        num_heights: Cells of a column.

    Raises:
        ValueError: A number is too small for a picture.
    """

    def __init__(self, num_tasks: int = 6, *, num_columns: int = 120, num_heights: int = 64) -> None:
        least = {"num_tasks": 1, "num_columns": 2, "num_heights": 2}
        for name, value in (("num_tasks", num_tasks), ("num_columns", num_columns), ("num_heights", num_heights)):
            if value < least[name]:
                raise ValueError(f"{name}={value} must be at least {least[name]}")
        self.num_tasks = num_tasks
        self.num_columns = num_columns
        self.num_heights = num_heights
        self._scene: _Scene | None = None

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        if self._scene is None:  # none of it changes while a run goes on
            self._scene = _Scene(trainer.datamodule, self.num_tasks, self.num_columns, self.num_heights)  # type: ignore[attr-defined]
        tasks = trainer.precision_plugin.convert_input(self._scene.tasks.to(pl_module.device))
        generator = Generator(pl_module.device).manual_seed(0)  # the same draws each time: only the learner changes
        with trainer.precision_plugin.val_step_context():
            predictive: Predictive = pl_module.predictive(tasks, generator)  # type: ignore[operator]
            panels = self._scene.panels(predictive)
        path = run_folder(trainer) / f"{NAME}.png"
        draw_tasks(panels, f"{self._scene.name}, step {trainer.global_step}", self._scene.x_label, path)
        for logger in trainer.loggers:
            log_picture(logger, path, NAME, step=trainer.global_step)


class _Scene:
    """Where to predict and what to draw besides.

    Attributes:
        name: What the tasks are.
        x_label: What the columns are.
        tasks: The tasks, with one query for each column.
    """

    def __init__(self, data: Any, num_tasks: int, num_columns: int, num_heights: int) -> None:
        problem: FewShotProblem = data.problem
        truth = _first_tasks(data.picture_tasks(), num_tasks)
        self.name = problem.name
        if problem.input_dim == 1:
            self.x_label = "x"
            self.tasks = _along_x(truth, num_columns)
            self._panels = [_panel_along_x(truth, self.tasks, index) for index in range(len(truth.query_x))]
        else:
            self.x_label = "query, in the order of its target"
            self.tasks = _by_target(truth)
            self._panels = [_panel_by_target(self.tasks, index) for index in range(len(truth.query_x))]
        self._edges_BE = _edges(truth, problem.scaling.y_scale[0], num_heights)
        oracle: Predictive | None = data.oracle_prediction(self.tasks)
        if oracle is not None:
            self._panels = self._with_masses(oracle, "oracle")

    def panels(self, model: Predictive) -> list[TaskPanel]:
        return self._with_masses(model, "model")

    def _with_masses(self, predictive: Predictive, name: str) -> list[TaskPanel]:
        edges_BE = self._edges_BE.to(predictive.mean)
        masses_BHC = cell_masses(predictive, edges_BE)
        return [
            replace(
                panel,
                edges=_numpy(edges_E),
                masses={name: _numpy(masses_HC[:, : len(panel.columns)])} | panel.masses,  # filler stands last
            )
            for panel, edges_E, masses_HC in zip(self._panels, edges_BE, masses_BHC, strict=True)
        ]


def _first_tasks(tasks: FewShotTasks, num_tasks: int) -> FewShotTasks:
    kept = {name: value[:num_tasks] for name, value in vars(tasks).items() if isinstance(value, Tensor)}
    return replace(tasks, **kept, num_points=int(kept["support_mask"].sum() + kept["query_mask"].sum()))


def _along_x(tasks: FewShotTasks, num_columns: int) -> FewShotTasks:
    """The same tasks with queries on a grid over all their points; the targets there are unknown, and zero."""
    x_BMX, _, mask_BM = tasks.points()
    low_B, high_B = _range(x_BMX[..., 0], mask_BM)
    grid_C = torch.linspace(0, 1, num_columns, dtype=x_BMX.dtype)
    x_BC1 = torch.lerp(low_B[:, None], high_B[:, None], grid_C)[..., None]
    return replace(
        tasks,
        query_x=x_BC1,
        query_y=x_BC1.new_zeros(*x_BC1.shape[:2], tasks.query_y.shape[-1]),
        query_mask=torch.ones(x_BC1.shape[:2], dtype=torch.bool),
        num_points=int(tasks.support_mask.sum()) + x_BC1.shape[0] * num_columns,
    )


def _by_target(tasks: FewShotTasks) -> FewShotTasks:
    """The same tasks, their queries in the order of their first target, filler last."""
    order_BQ = torch.where(tasks.query_mask, tasks.query_y[..., 0], torch.inf).argsort(dim=1)
    rows_B1 = torch.arange(len(order_BQ))[:, None]
    queries = {name: getattr(tasks, name)[rows_B1, order_BQ] for name in ("query_x", "query_y", "query_mask")}
    return replace(tasks, **queries)


def _panel_along_x(truth: FewShotTasks, columns: FewShotTasks, index: int) -> TaskPanel:
    support = torch.cat([truth.support_x, truth.support_y], dim=-1)[index, truth.support_mask[index], :2]
    query = torch.cat([truth.query_x, truth.query_y], dim=-1)[index, truth.query_mask[index], :2]
    return TaskPanel(_numpy(support), _numpy(query), _numpy(columns.query_x[index, :, 0]))


def _panel_by_target(tasks: FewShotTasks, index: int) -> TaskPanel:
    y_Q = _numpy(tasks.query_y[index, tasks.query_mask[index], 0])
    places_Q = np.arange(len(y_Q))
    return TaskPanel(np.empty((0, 2)), np.stack([places_Q, y_Q], axis=1), places_Q)


def _edges(tasks: FewShotTasks, y_scale: Tensor, num_heights: int) -> Tensor:
    """Edges [B, E] over the targets of each task and a good deal beyond, where a predictive may err."""
    _, y_BMY, mask_BM = tasks.points()
    low_B, high_B = _range(y_BMY[..., 0], mask_BM)
    margin_B = torch.maximum(0.3 * (high_B - low_B), 0.5 * y_scale.cpu())
    grid_E = torch.linspace(0, 1, num_heights + 1, dtype=y_BMY.dtype)
    return torch.lerp((low_B - margin_B)[:, None], (high_B + margin_B)[:, None], grid_E)


def _range(value_BM: Tensor, mask_BM: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest real value [B] of each task."""
    low_B = torch.where(mask_BM, value_BM, torch.inf).amin(dim=1)
    return low_B, torch.where(mask_BM, value_BM, -torch.inf).amax(dim=1)


def _numpy(value: Tensor) -> np.ndarray:
    return value.detach().cpu().double().numpy()

"""Pictures of few-shot predictions: the heat maps hold the right probabilities, and a real run leaves its pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from matplotlib.image import imread
from torch import Tensor

from callbacks import CalibrationPicture, PredictivePictures, SupportCurve
from callbacks.calibration_picture import draw_calibration
from callbacks.density_picture import TaskPanel, cell_masses
from callbacks.predictive_pictures import _Scene
from callbacks.to_loggers import log_picture
from datamodules import FewShotData
from datamodules.tasks import LatentFunction
from modules.contracts import FewShotProblem, FewShotTasks, GaussianMixture, Predictive, Scaling
from modules.meta import DeepKernelGP
from modules.optim import Constant
from recipes import MetaRegression

Trainers = Callable[..., L.Trainer]


class Data:
    """What the pictures ask of a DataModule: two tasks, the second with a filler point of each kind."""

    def __init__(self, input_dim: int, *, has_oracle: bool) -> None:
        self.problem = FewShotProblem("stand-in", input_dim, 2, Scaling.identity(input_dim, 2))
        self.input_dim = input_dim
        self.has_oracle = has_oracle

    def picture_tasks(self) -> FewShotTasks:
        generator = torch.Generator().manual_seed(0)
        x, y = torch.randn(2, 9, self.input_dim, generator=generator), torch.randn(2, 9, 2, generator=generator)
        mask = torch.ones(2, 9, dtype=torch.bool)
        mask[1, 3] = mask[1, 8] = False
        x[~mask] = y[~mask] = 1e3
        return FewShotTasks(x[:, :4], y[:, :4], mask[:, :4], x[:, 4:], y[:, 4:], mask[:, 4:], 16)

    def oracle_prediction(self, tasks: FewShotTasks) -> Predictive | None:
        return normal(tasks.query_x, 0.5) if self.has_oracle else None


def normal(query_x: Tensor, sd: float) -> GaussianMixture:
    """Around the first input."""
    mean = query_x[None, ..., :1].expand(-1, -1, -1, 2)
    return GaussianMixture(mean, torch.full((1, 1, 1, 1), sd**2))


def test_cells_hold_the_probability_between_their_edges() -> None:
    edges = torch.stack([torch.linspace(-8, 8, 33), torch.linspace(-1, 2, 33)])
    masses = cell_masses(normal(torch.zeros(2, 3, 1), 1.0), edges)
    assert masses.shape == (2, 32, 3)
    torch.testing.assert_close(masses[0].sum(dim=0), torch.ones(3))
    below = torch.special.ndtr(edges)
    for column in range(3):
        torch.testing.assert_close(masses[..., column], below.diff(dim=1))


def test_along_x_columns_span_the_points_of_each_task() -> None:
    data = Data(1, has_oracle=True)
    scene = _Scene(data, 2, 30, 50)
    panels = scene.panels(normal(scene.tasks.query_x, 0.1))
    given = data.picture_tasks()
    assert [list(panel.masses) for panel in panels] == [["model", "oracle"]] * 2
    for index, panel in enumerate(panels):
        x, _, mask = given.points()
        real = x[index, mask[index], 0]
        assert (panel.columns.min(), panel.columns.max()) == (float(real.min()), float(real.max()))
        check_modes(panel)
    assert len(panels[1].support) == 3
    assert len(panels[1].truth) == 4
    assert abs(panels[1].edges).max() < 10, "filler must not stretch the axes"


def check_modes(panel: TaskPanel) -> None:
    """The densest cell of each column is where the stand-in predicts its mean, if that is in the picture."""
    middles = (panel.edges[1:] + panel.edges[:-1]) / 2
    cell = panel.edges[1] - panel.edges[0]
    for column, masses in zip(panel.columns, panel.masses["model"].T, strict=True):
        if panel.edges[0] + 0.5 < column < panel.edges[-1] - 0.5:
            assert abs(middles[masses.argmax()] - column) <= cell


def test_with_several_inputs_columns_are_queries_in_the_order_of_their_targets() -> None:
    data = Data(3, has_oracle=False)
    scene = _Scene(data, 2, 30, 50)
    panels = scene.panels(normal(scene.tasks.query_x, 0.1))
    given = data.picture_tasks()
    for index, num_queries in enumerate((5, 4)):
        panel = panels[index]
        assert list(panel.masses) == ["model"]
        assert panel.masses["model"].shape == (50, num_queries)
        y = given.query_y[index, given.query_mask[index], 0].sort().values
        assert panel.truth[:, 1].tolist() == pytest.approx(y.tolist())
        assert len(panel.support) == 0


@pytest.fixture
def make_run() -> Callable[..., tuple[MetaRegression, FewShotData]]:
    def make(**options: Any) -> tuple[MetaRegression, FewShotData]:
        data = FewShotData(
            LatentFunction(), num_support=[0, 3], num_val_tasks=4, num_test_tasks=6, batch_size=4, **options
        )
        torch.manual_seed(0)
        learner = DeepKernelGP()
        return MetaRegression(learner, optimizer=torch.optim.Adam, schedule=Constant(), num_samples=20), data

    return make


def test_a_run_leaves_its_pictures(
    make_trainer: Trainers, make_run: Callable[..., tuple[MetaRegression, FewShotData]], tmp_path: Path
) -> None:
    from lightning.pytorch.loggers import TensorBoardLogger
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model, data = make_run(test_support=[3, 1], folder=str(tmp_path))
    pictures = PredictivePictures(2, num_columns=11, num_heights=9)
    logger = TensorBoardLogger(str(tmp_path), name="board", version="")
    trainer = make_trainer(
        pictures,
        CalibrationPicture(),
        SupportCurve(),
        max_steps=2,
        precision="64-true",
        logger=logger,
        val_check_interval=1,
        check_val_every_n_epoch=None,
    )
    trainer.fit(model, datamodule=data)
    before = (tmp_path / "predictive.png").read_bytes()
    assert imread(tmp_path / "predictive.png").std() > 0.01
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5)
    trainer.test(model, datamodule=data, verbose=False)
    trainer.validate(model, datamodule=data, verbose=False)
    assert (tmp_path / "predictive.png").read_bytes() != before, "another learner, another picture"
    for name in ("calibration", "support_curve"):
        assert imread(tmp_path / f"{name}.png").std() > 0.01
    events = EventAccumulator(str(tmp_path / "board"))
    events.Reload()
    assert set(events.Tags()["images"]) == {"predictive", "calibration", "support_curve"}
    assert [event.step for event in events.Images("predictive")] == [1, 2, 2]


def test_one_size_of_support_is_no_curve(
    make_trainer: Trainers, make_run: Callable[..., tuple[MetaRegression, FewShotData]], tmp_path: Path
) -> None:
    model, data = make_run(folder=str(tmp_path))
    make_trainer(SupportCurve(), logger=False).test(model, datamodule=data, verbose=False)
    assert not (tmp_path / "support_curve.png").exists()


def test_calibration_of_targets_with_several_dimensions(tmp_path: Path) -> None:
    draw_calibration({"one": torch.rand(50, 2), "other": torch.zeros(1, 1)}, tmp_path / "picture.png")
    assert imread(tmp_path / "picture.png").std() > 0.01


def test_other_loggers_get_pictures_too(tmp_path: Path) -> None:
    from unittest.mock import create_autospec

    from lightning.pytorch.loggers import MLFlowLogger, WandbLogger

    mlflow, wandb = create_autospec(MLFlowLogger, instance=True), create_autospec(WandbLogger, instance=True)
    for logger in (mlflow, wandb):
        log_picture(logger, tmp_path / "a.png", "a", step=3)
    mlflow.experiment.log_artifact.assert_called_once_with(mlflow.run_id, str(tmp_path / "a.png"))
    wandb.log_image.assert_called_once_with("a", [str(tmp_path / "a.png")], step=3)


@pytest.mark.parametrize("argument", ["num_tasks", "num_columns", "num_heights"])
def test_refuses_a_picture_of_nothing(argument: str) -> None:
    with pytest.raises(ValueError, match=f"{argument}=0 must be at least"):
        PredictivePictures(**{argument: 0})

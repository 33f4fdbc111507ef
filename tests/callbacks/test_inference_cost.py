"""The lifetime cost at the end of a run: right to the last unit, however the run ends."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import lightning as L
import pytest
import torch
from matplotlib.image import imread
from torch import Tensor, nn
from torch.utils.data import DataLoader

from callbacks import InferenceAwareCost, LastCheckpoint, Meter
from callbacks.inference_cost import _precision
from callbacks.paid_time import PaidTime
from callbacks.to_loggers import log_report
from modules.scaling import LIFETIME_COST_SCHEMA

Trainers = Callable[..., L.Trainer]
Models = Callable[..., L.LightningModule]
Streams = Callable[[Any], DataLoader]


def report_of(folder: Path) -> dict[str, Any]:
    report = json.loads((folder / "lifetime_cost.json").read_text())
    jsonschema.validate(report, LIFETIME_COST_SCHEMA)
    return report


def test_counts_by_hand(make_trainer: Trainers, line: Models, batches: DataLoader, tmp_path: Path) -> None:
    make_trainer(InferenceAwareCost(), max_steps=7, log_every_n_steps=3).fit(line(), batches)
    report = report_of(tmp_path)
    assert report["run"]["units"] == 7 * 5
    assert report["training"]["flops"] == 7 * 5 * 24.0
    assert [row["inference_units"] for row in report["demands"]] == [35, 350, 3500]
    assert report["demands"][0]["lifetime_flops"] == 35 * (24.0 + 8.0)
    assert report["answers"] == []  # no loss law says anything of a line
    assert "35" in (tmp_path / "lifetime_cost.md").read_text()
    assert imread(tmp_path / "lifetime_cost.png").std() > 0.01


def test_stated_demand_and_price(make_trainer: Trainers, line: Models, batches: DataLoader, tmp_path: Path) -> None:
    cost = InferenceAwareCost(demand="2M", hardware="h100", usd_per_hour="$36/h")
    make_trainer(cost, max_steps=2).fit(line(), batches)
    report = report_of(tmp_path)
    assert [row["inference_units"] for row in report["demands"]] == [2e6]
    assert report["training"]["usd"] == pytest.approx(36 * report["training"]["device_hours"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"demand": -5}, "must not be negative"),
        ({"output_fraction": 2.0}, r"in \[0, 1\]"),
        ({"laws": ["murphy"]}, "murphy"),
        ({"hardware": "abacus"}, "abacus"),
        ({"demand": "many"}, "many"),
        ({"usd_per_hour": "x"}, "x"),
    ],
)
def test_refuses_what_it_cannot_read(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InferenceAwareCost(**arguments)


def test_reports_when_a_run_fails(make_trainer: Trainers, line: Models, batches: DataLoader, tmp_path: Path) -> None:
    model = line()
    model.on_train_batch_start = fails_at(model, 4)
    with pytest.raises(RuntimeError, match="broken"):
        make_trainer(InferenceAwareCost(), log_every_n_steps=100).fit(model, batches)
    assert report_of(tmp_path)["run"]["units"] == 4 * 5


def fails_at(model: L.LightningModule, step: int) -> Callable[..., None]:
    def hook(batch: Tensor, batch_idx: int) -> None:
        if batch_idx == step:
            raise RuntimeError("broken")

    return hook


def test_lost_work_is_paid_but_not_counted(
    make_trainer: Trainers, line: Models, batches: DataLoader, tmp_path: Path
) -> None:
    """Steps after the last checkpoint are done twice: their hours are paid twice, their tokens count once."""
    model = line()
    model.on_train_batch_start = fails_at(model, 8)
    with pytest.raises(RuntimeError, match="broken"):
        make_trainer(InferenceAwareCost(), LastCheckpoint(every_n_steps=5)).fit(model, batches)
    before = report_of(tmp_path)
    trainer = make_trainer(InferenceAwareCost(), LastCheckpoint())
    trainer.fit(line(), batches, ckpt_path=tmp_path / "checkpoints" / "last.ckpt")
    after = report_of(tmp_path)
    assert before["run"]["units"] == 8 * 5
    assert after["run"]["units"] == 10 * 5
    assert after["training"]["device_hours"] > before["training"]["device_hours"] > 0
    assert len({json.loads(row)["launch"] for row in (tmp_path / "paid_time.jsonl").read_text().splitlines()}) == 2


class Stranger(L.LightningModule):
    """A user's module that knows nothing of us."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs = batch["inputs"] if isinstance(batch, dict) else batch.inputs if isinstance(batch, Opaque) else batch
        return self.net(inputs).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Opaque:
    """A batch that nobody can look into."""

    def __init__(self) -> None:
        self.inputs = torch.ones(5, 4)


FORWARD = 2 * (4 * 16 + 16 * 1)
TRAINING = 2 * FORWARD + 2 * 16 * 1  # the gradient of the inputs is not needed


def test_any_module_is_measured(make_trainer: Trainers, batches: DataLoader, tmp_path: Path) -> None:
    make_trainer(Meter(), InferenceAwareCost(), max_steps=3).fit(Stranger(), batches)
    report = report_of(tmp_path)
    assert (report["run"]["unit"], report["run"]["units"]) == ("example", 3 * 5)
    assert report["training"]["flops"] == 3 * 5 * TRAINING
    assert report["run"]["prefill_flops"] == FORWARD
    assert any("no cost_profile" in note for note in report["notes"])


def test_a_mask_tells_the_real_tokens(make_trainer: Trainers, stream: Streams, tmp_path: Path) -> None:
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    batches = stream({"inputs": torch.ones(2, 3, 4), "attention_mask": mask})
    cost = InferenceAwareCost(law_use="applies", laws=["sardana2024"])
    make_trainer(cost, max_steps=4, log_every_n_steps=3).fit(Stranger(), batches)
    report = report_of(tmp_path)
    assert (report["run"]["unit"], report["run"]["units"]) == ("token", 4 * 3)
    assert [answer["law"] for answer in report["answers"]] == ["sardana2024"]


def test_a_batch_nobody_can_look_into_is_one_unit(make_trainer: Trainers, stream: Streams, tmp_path: Path) -> None:
    make_trainer(InferenceAwareCost(), max_steps=4).fit(Stranger(), stream(Opaque()))
    assert (report_of(tmp_path)["run"]["unit"], report_of(tmp_path)["run"]["units"]) == ("batch", 4)


def test_accumulated_batches_all_count_and_are_read_once(
    make_trainer: Trainers, line: Models, batches: DataLoader, tmp_path: Path
) -> None:
    meter, reads = Meter(), []
    read = meter.read
    meter.read = lambda trainer, **how: reads.append(trainer.global_step) or read(trainer, **how)
    trainer = make_trainer(meter, InferenceAwareCost(), max_steps=6, accumulate_grad_batches=4, log_every_n_steps=3)
    trainer.fit(line(), batches)
    assert report_of(tmp_path)["run"]["units"] == 6 * 4 * 5
    assert reads == [3, 6, 6]  # two logging steps and the end


def test_a_step_that_fails_leaves_no_counter_behind(make_trainer: Trainers, batches: DataLoader) -> None:
    from torch.utils._python_dispatch import _get_current_dispatch_mode

    class Broken(Stranger):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            raise TypeError("broken in its first step")

    with pytest.raises(TypeError, match="first step"):
        make_trainer(InferenceAwareCost()).fit(Broken(), batches)
    assert _get_current_dispatch_mode() is None


def test_an_interrupted_run_reports(make_trainer: Trainers, line: Models, batches: DataLoader, tmp_path: Path) -> None:
    model = line()

    def interrupt(batch: Tensor, batch_idx: int) -> None:
        if batch_idx == 3:
            raise KeyboardInterrupt

    model.on_train_batch_start = interrupt
    with pytest.raises(SystemExit):
        make_trainer(InferenceAwareCost()).fit(model, batches)
    assert report_of(tmp_path)["run"]["units"] == 3 * 5


def test_a_report_that_fails_does_not_hide_the_error(
    make_trainer: Trainers, line: Models, batches: DataLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("callbacks.inference_cost.draw_lifetime_cost", full_disk)
    model = line()
    model.on_train_batch_start = fails_at(model, 2)
    with pytest.raises(RuntimeError, match="broken"), pytest.warns(UserWarning, match="no space left"):
        make_trainer(InferenceAwareCost()).fit(model, batches)


def test_another_run_in_the_same_folder_pays_for_itself(
    make_trainer: Trainers, line: Models, batches: DataLoader, tmp_path: Path
) -> None:
    for _ in range(2):
        make_trainer(InferenceAwareCost(), max_steps=2).fit(line(), batches)
    assert len({json.loads(row)["launch"] for row in (tmp_path / "paid_time.jsonl").read_text().splitlines()}) == 1


@pytest.mark.parametrize(
    ("precision", "name"), [("bf16-mixed", "bf16"), ("16-mixed", "fp16"), ("32-true", "fp32"), ("64-true", "fp64")]
)
def test_precision_as_the_hardware_presets_name_it(precision: str, name: str) -> None:
    assert _precision(precision) == name


def test_tensorboard_gets_the_page_and_the_picture(
    make_trainer: Trainers, line: Models, batches: DataLoader, tmp_path: Path
) -> None:
    from lightning.pytorch.loggers import TensorBoardLogger
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(str(tmp_path), name="board", version="")
    make_trainer(InferenceAwareCost(), max_steps=2, logger=logger).fit(line(), batches)
    events = EventAccumulator(str(tmp_path / "board"))
    events.Reload()
    assert events.Tags()["images"] == ["lifetime_cost"]
    page = events.Tensors("lifetime_cost/text_summary")[0].tensor_proto.string_val[0].decode()
    assert page == (tmp_path / "lifetime_cost.md").read_text()
    assert events.Scalars("cost/train_flops")[0].value == 2 * 5 * 24.0


def test_mlflow_and_wandb_get_theirs(tmp_path: Path) -> None:
    from unittest.mock import create_autospec

    from lightning.pytorch.loggers import MLFlowLogger, WandbLogger

    (tmp_path / "report.md").write_text("page")
    mlflow, wandb = create_autospec(MLFlowLogger, instance=True), create_autospec(WandbLogger, instance=True)
    for logger in (mlflow, wandb):
        log_report(logger, tmp_path, "report")
    files = [call.args[1] for call in mlflow.experiment.log_artifact.call_args_list]
    assert files == [str(tmp_path / f"report.{suffix}") for suffix in ("json", "md", "png")]
    wandb.log_text.assert_called_once_with("report", columns=["report"], data=[["page"]])
    wandb.log_image.assert_called_once_with("report_picture", [str(tmp_path / "report.png")])


def test_journal_survives_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "paid_time.jsonl"
    path.write_text(
        '{"launch": "a", "time": 0, "devices": 2}\n{"launch": "a", "time": 3600, "devices": 2}\n'
        '{"launch": "b", "time": 9000, "devices": 1}\n{"launch": "b", "ti\n'
    )
    journal = PaidTime(path, 1)
    assert journal.device_hours() == 2.0
    journal.beat(now=True)
    time.sleep(0.01)
    journal.beat(now=True)
    assert journal.device_hours() > 2.0

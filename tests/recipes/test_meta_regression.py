"""The few-shot recipe: what it optimises, how it goes on, what it reports."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from few_shot_parts import expected_oracle_nll, small_data, small_model
from interrupted_runs import dies_at_step

from callbacks import LastCheckpoint, PredictionWriter, ScoreWriter
from callbacks.metrics_csv import read_metrics
from datamodules.tasks import Constant, LatentFunction, TabularTasks
from datamodules.tasks.transforms import Identity
from modules.contracts import FewShotTasks
from modules.scores import task_digests
from recipes.random_streams import generator_of

Trainers = Callable[..., L.Trainer]
PAGE = Path(__file__).parents[2] / "docs" / "few_shot.md"


@pytest.mark.parametrize("every", [1, 10])
def test_twenty_steps_are_ten_and_ten(make_trainer: Trainers, tmp_path: Path, every: int) -> None:
    whole, split, logging = small_model(), tmp_path / "split", {"log_every_n_steps": every}
    make_trainer(folder=tmp_path / "whole", **logging).fit(whole, datamodule=small_data())
    dying = dies_at_step(small_model(), 9)
    trainer = make_trainer(LastCheckpoint(every_n_steps=7), folder=split, **logging)  # it also seeds the run
    with pytest.raises(RuntimeError, match="killed"):
        trainer.fit(dying, datamodule=small_data())
    again, trainer = small_model(), make_trainer(folder=split, **logging)
    torch.manual_seed(99)  # what the new process happens to have
    trainer.fit(again, datamodule=small_data(num_workers=2), ckpt_path=split / "checkpoints" / "last.ckpt")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    metrics = [read_metrics(folder / "metrics.csv") for folder in (tmp_path / "whole", split)]
    assert {"train/loss", "train/lr", "val/nll", "val/crps", "val/coverage_90"} <= metrics[0].keys()
    for name in (name for name in metrics[0] if not name.endswith("per_second")):
        assert metrics[0][name] == metrics[1][name], name


def test_the_loss_is_the_learners_own_in_scaled_units(make_trainer: Trainers, tmp_path: Path) -> None:
    model, data = small_model(optimizer=lambda p: torch.optim.SGD(p, lr=0.0)), small_data()
    make_trainer(max_steps=2).fit(model, datamodule=data)
    logged = read_metrics(tmp_path / "metrics.csv")["train/loss"]
    for step, batch in zip(range(2), small_stream(), strict=False):
        generator = generator_of(model.device, 4, 0, step, 0)  # seed of the run, stream, step, rank
        loss = model.learner.loss(data.problem.scaling.tasks(batch), generator)
        assert logged[step] == pytest.approx(float(loss.detach()), rel=1e-5)


def small_stream() -> Any:
    data = small_data()
    data.setup("fit")
    return iter(data.train_dataloader())


def test_scores_are_means_over_tasks_in_units_of_the_data(make_trainer: Trainers, tmp_path: Path) -> None:
    model, data = small_model(exact=True), small_data()
    make_trainer(max_steps=1, val_check_interval=1).fit(model, datamodule=data)
    per_task = []
    for batch in data.val_dataloader():
        log_prob = model.predictive(batch).log_prob(batch.query_y).value
        per_task += [float(value[mask].mean()) for value, mask in zip(log_prob, batch.query_mask, strict=True)]
    nll = -torch.tensor(per_task, dtype=torch.float64)
    metrics = {name: values[0] for name, values in read_metrics(tmp_path / "metrics.csv").items()}
    assert metrics["val/nll"] == metrics["val/loss"] == pytest.approx(float(nll.mean()), rel=1e-5)
    assert metrics["val/nll_se"] == pytest.approx(float(nll.std()) / len(nll) ** 0.5, rel=1e-4)
    assert {"val/rmse", "val/energy", "val/joint_nll", "val/calibration_error", "val/pit_ks"} <= metrics.keys()
    assert "val/oracle_gap" not in metrics


def test_discrete_targets_are_judged_by_log_loss(make_trainer: Trainers, tmp_path: Path) -> None:
    make_trainer(max_steps=1, val_check_interval=1).fit(
        small_model(exact=True), datamodule=small_data(tasks=LatentFunction())
    )
    metrics = read_metrics(tmp_path / "metrics.csv")
    assert metrics["val/loss"] == metrics["val/log_loss"] != metrics["val/nll"]


def test_sizes_of_support_and_the_oracle_have_sheets_of_their_own(
    make_trainer: Trainers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = small_model(exact=True), small_data(test_support=[0, 5])
    metrics = make_trainer(ScoreWriter()).test(model, datamodule=data)[0]
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["400", "tasks", "0", "support", "points", "5", "support", "points"]
    (shown,) = [line.split()[1:] for line in lines if line.startswith("nll ")]
    wanted = [f"{metrics[f'test/support_{size}/nll{part}']:.4f}" for size in (0, 5) for part in ("", "_se")]
    assert [word for word in shown if word != "+-"] == wanted
    assert "test/loss" not in metrics
    for sheet, num_support in zip(model.sheets, (0, 5), strict=True):
        name = f"test/support_{num_support}"
        error = metrics[f"{name}/nll_se"]
        assert metrics[f"{name}/oracle_loss"] == pytest.approx(expected_oracle_nll(num_support), abs=4 * error)
        gap = metrics[f"{name}/loss"] - metrics[f"{name}/oracle_loss"]
        assert metrics[f"{name}/oracle_gap"] == pytest.approx(gap, abs=1e-5)
        assert metrics[f"{name}/oracle_gap"] > 0
        assert sheet.num_support == num_support
    rows = list(csv.DictReader((tmp_path / "test_scores.csv").read_text().splitlines()))
    assert len(rows) == 2 * 2 * 400
    first = next(row for row in rows if (row["support"], row["of"]) == ("5", "oracle"))
    assert float(first["nll"]) == pytest.approx(float(model.sheets[1].oracle.values["nll"][0]), rel=1e-6)
    assert first["digest"] == task_digests(next(iter(data.test_dataloader()[1])))[0]


def test_the_page_explains_every_score(make_trainer: Trainers) -> None:
    data = small_data(tasks=LatentFunction(), num_test_tasks=3)
    metrics = make_trainer().test(small_model(exact=True), datamodule=data, verbose=False)[0]
    glossary = PAGE.read_text().split("## Scores")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.+?) \|", glossary, re.MULTILINE)
    explained = {name for row in rows for name in re.findall("`(.+?)`", row)}
    assert explained == {name.removeprefix("test/").removesuffix("_se") for name in metrics}


def test_evaluation_draws_the_same_numbers_each_time(make_trainer: Trainers) -> None:
    first, second = (make_trainer().validate(small_model(), datamodule=small_data(), verbose=False) for _ in range(2))
    assert first == second


def test_what_is_not_finite_is_refused(make_trainer: Trainers, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = next(small_stream())
    spoiled = replace(batch, query_y=batch.query_y.clone())
    spoiled.query_y[5, 1] = torch.nan
    for loader, method in (("train_dataloader", "fit"), ("val_dataloader", "validate")):
        data = small_data()
        monkeypatch.setattr(data, loader, lambda: torch.utils.data.DataLoader([spoiled], batch_size=None))
        with pytest.raises(ValueError, match=r"query_y of 1 of 8 tasks .* \(tasks 5\)"):
            getattr(make_trainer(max_steps=1), method)(small_model(), datamodule=data)


def test_a_learner_of_another_width_is_told_the_key(make_trainer: Trainers) -> None:
    with pytest.raises(ValueError, match=r"which is 2: set model\.init_args\.learner\.init_args\.input_dim to 2"):
        make_trainer().fit(small_model(), datamodule=small_data(tasks=Constant(input_dim=2)))


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="num_samples=1 must be at least 2"):
        small_model(num_samples=1)


def test_the_scaling_is_the_checkpoints(make_trainer: Trainers, tmp_path: Path) -> None:
    model = small_model(exact=True)
    make_trainer(LastCheckpoint(), max_steps=2).fit(model, datamodule=small_data())
    other = small_model(exact=True)
    path = tmp_path / "checkpoints" / "last.ckpt"
    make_trainer().validate(other, datamodule=small_data(standardize=False), ckpt_path=path, verbose=False)
    assert torch.equal(other.y_scale, model.y_scale)
    assert float(other.y_scale) == pytest.approx(2**0.5, rel=0.1)


def test_mixed_precision_keeps_float32(make_trainer: Trainers, tmp_path: Path) -> None:
    """In bf16, Cholesky fails on the joint covariances of 20 support points."""
    runs = []
    for name, options in {"full": {}, "mixed": {"precision": "bf16-mixed"}}.items():
        model, data = small_model(), small_data(num_support=20, tasks=LatentFunction(Identity()))
        trainer = make_trainer(max_steps=3, val_check_interval=3, folder=tmp_path / name, **options)
        trainer.fit(model, datamodule=data)
        runs.append((read_metrics(tmp_path / name / "metrics.csv")["val/loss"], model.state_dict()))
    assert runs[0][0] == runs[1][0]
    assert all(torch.equal(value, runs[1][1][name]) for name, value in runs[0][1].items())


def test_half_precision_is_refused(make_trainer: Trainers) -> None:
    with pytest.raises(ValueError, match=r"trainer\.precision=bf16-true has no digits .* use 32-true"):
        make_trainer(precision="bf16-true").fit(small_model(), datamodule=small_data())


@pytest.mark.filterwarnings("ignore:Couldn't infer the batch indices")  # Lightning; the command line is silent
def test_rows_of_a_table_are_predicted(make_trainer: Trainers, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    path, lines = tmp_path / "table.csv", ["sensor,hour,level"]
    for sensor in range(12):
        values = 50 + 10 * torch.randn(1, generator=generator) + torch.randn(4, generator=generator)
        lines += [f"s{sensor},{hour},{value:.4f}" for hour, value in enumerate(values.tolist())]
    lines += ["new,0,71.5", "new,1,70.5", "new,2,", "other,0,"]
    path.write_text("\n".join(lines) + "\n")
    tasks = TabularTasks(str(path), task="sensor", inputs=["hour"], targets=["level"], val_share=0.0, test_share=0.0)
    trainer = make_trainer(PredictionWriter())
    trainer.predict(small_model(exact=True), datamodule=small_data(tasks=tasks), return_predictions=False)
    rows = [json.loads(line) for line in (tmp_path / "predictions-0.jsonl").read_text().splitlines()]
    assert [(row["task"], row["row"], row["x"]) for row in rows] == [("new", 50, 2.0), ("other", 51, 0.0)]
    for row in rows:
        quantiles = [row[name] for name in ("q05", "q25", "q50", "q75", "q95")]
        assert quantiles == sorted(quantiles)
        assert quantiles[0] < row["mean"] < quantiles[-1]
        assert 0 < row["mean"] < 100


@pytest.mark.filterwarnings("ignore:Couldn't infer the batch indices")
def test_new_tasks_are_predicted_from_a_file_of_their_own(make_trainer: Trainers, tmp_path: Path) -> None:
    known = [f"s{sensor},{hour},{10 * sensor + hour}" for sensor in range(30) for hour in range(5)]
    new = ["new,0,71.5", "new,1,70.5", "new,2,", "other,0,"]
    answers = []
    for name, lines in {"whole": known + new, "new": new}.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(["sensor,hour,level", *lines]))
    for name in ("whole", "new"):
        table = TabularTasks(str(tmp_path / f"{name}.csv"), task="sensor", inputs=["hour"], targets=["level"])
        data, folder = small_data(tasks=table, test_support=[3]), tmp_path / name
        if name == "whole":
            make_trainer(LastCheckpoint(), max_steps=2).fit(small_model(exact=True), datamodule=data)
        trainer, model = make_trainer(PredictionWriter(), folder=folder), small_model(exact=True)
        checkpoint = tmp_path / "checkpoints" / "last.ckpt"
        trainer.predict(model, datamodule=data, ckpt_path=checkpoint, return_predictions=False)
        rows = [json.loads(line) for line in (folder / "predictions-0.jsonl").read_text().splitlines()]
        answers.append([(row["task"], row["mean"], row["q05"], row["q95"]) for row in rows])
    assert [row[0] for row in answers[0]] == ["new", "other"]
    assert answers[0] == answers[1]
    with pytest.raises(ValueError, match="no task is in the split 'train'"):
        make_trainer().fit(small_model(exact=True), datamodule=small_data(tasks=table))


def test_the_cost_of_a_point_is_that_of_networks_and_kernels(make_trainer: Trainers) -> None:
    model, data = small_model(exact=True), small_data()
    trainer = make_trainer(max_steps=1)
    trainer.fit(model, datamodule=data)
    profile = model.cost_profile()
    network = 2 * (40 + 40 * 40 + 40 * 10)
    assert profile.unit == "task point"
    assert network < profile.prefill_flops < 1.2 * network
    assert 2.5 * network < profile.train_flops < 3.6 * network
    assert profile.parameters_total == sum(p.numel() for p in model.learner.parameters())
    batch: FewShotTasks = next(small_stream())
    assert model.count_units(batch) == int(batch.support_mask.sum() + batch.query_mask.sum())

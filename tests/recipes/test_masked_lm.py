"""The masked LM recipe: what it optimises, how it goes on, what it says."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import torch.nn.functional as F
from interrupted_runs import dies_at_step
from torch import Tensor

from callbacks import FiniteLoss, LastCheckpoint
from callbacks.finite_loss import NonFiniteLossError
from callbacks.metrics_csv import read_metrics
from datamodules import MaskedLMData
from modules.contracts import IGNORE, RaggedText
from modules.optim import Constant
from recipes import MaskedLM

Trainers = Callable[..., L.Trainer]
Models = Callable[..., MaskedLM]
Data = Callable[..., MaskedLMData]


def weights(model: MaskedLM) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.mark.parametrize(("micro_batch_size", "num_workers", "every"), [(8, 0, 1), (16, 2, 10)])
def test_twenty_steps_are_ten_and_ten(
    make_trainer: Trainers,
    make_model: Models,
    make_data: Data,
    tmp_path: Path,
    micro_batch_size: int,
    num_workers: int,
    every: int,
) -> None:
    sizes: dict[str, Any] = {"micro_batch_size": micro_batch_size}
    logging = {"log_every_n_steps": every}
    whole = make_model()
    make_trainer(folder=tmp_path / "whole", **logging).fit(whole, datamodule=make_data(**sizes))

    split = tmp_path / "split"
    dying = dies_at_step(make_model(), 9)
    trainer = make_trainer(LastCheckpoint(every_n_steps=7), folder=split, **logging)
    with pytest.raises(RuntimeError, match="killed"):
        trainer.fit(dying, datamodule=make_data(**sizes))
    again = make_model()
    trainer, data = make_trainer(folder=split, **logging), make_data(**sizes, num_workers=num_workers)
    torch.manual_seed(99)  # what the new process happens to have
    trainer.fit(again, datamodule=data, ckpt_path=split / "checkpoints" / "last.ckpt")
    assert_same(weights(whole), weights(again))
    metrics = [read_metrics(folder / "metrics.csv") for folder in (tmp_path / "whole", split)]
    for name in ("train/loss", "train/accuracy", "train/lr", "val/loss", "val/accuracy", "meter/tokens"):
        assert metrics[0][name] == metrics[1][name], name


def test_micro_batches_do_not_change_the_update(make_trainer: Trainers, make_model: Models, make_data: Data) -> None:
    """Documents differ in length, so a mean of means would differ; the mean over all masked tokens does not."""
    trained = {}
    for size in (16, 4):
        model = make_model(dropout=0.0).double()
        make_trainer(max_steps=3, precision="64-true").fit(model, datamodule=make_data(micro_batch_size=size))
        trained[size] = weights(model)
    for name, value in trained[16].items():
        torch.testing.assert_close(trained[4][name], value, rtol=1e-9, atol=1e-11)


def test_first_loss_is_the_mean_over_the_masked_tokens_of_the_batch(
    make_trainer: Trainers, make_model: Models, make_data: Data, tmp_path: Path
) -> None:
    model, data = make_model(dropout=0.0, optimizer=lambda p: torch.optim.SGD(p, lr=0.0)), make_data()
    make_trainer(max_steps=1).fit(model, datamodule=data)
    data._position = 0
    step = next(iter(data.train_dataloader()))
    logits = [model.encoder.logits(model.encoder(m.input_ids, m.cu_seqlens, m.max_seqlen)[0]) for m in step]
    labels = torch.cat([m.labels for m in step])
    mean = F.cross_entropy(torch.cat(logits), labels, ignore_index=IGNORE)
    logged = read_metrics(tmp_path / "metrics.csv")
    assert logged["train/loss"][0] == pytest.approx(float(mean.detach()), rel=1e-5)
    assert logged["train/loss"][0] == pytest.approx(math.log(model.encoder.num_vocab_rows), abs=0.3)
    assert logged["meter/tokens"][0] == sum(m.num_tokens for m in step)


def test_nan_in_the_first_micro_batch_is_told_with_its_step(
    make_trainer: Trainers, make_model: Models, make_data: Data, tmp_path: Path
) -> None:
    model, calls = make_model(), []
    micro_loss = model._micro_loss

    def spoiled(micro: RaggedText) -> Tensor:
        calls.append(micro)
        return micro_loss(micro) * (torch.nan if len(calls) == 7 else 1.0)  # two a step: the first one of step 4

    model._micro_loss = spoiled
    with pytest.raises(NonFiniteLossError, match="step 4: "):
        make_trainer(FiniteLoss(), LastCheckpoint(every_n_steps=1)).fit(model, datamodule=make_data())
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 3
    assert all(torch.isfinite(value).all() for value in saved["state_dict"].values())


def test_another_padding_id_is_refused(make_trainer: Trainers, make_model: Models, make_data: Data) -> None:
    model = make_model()
    model.encoder.embeddings.padding_id = 7
    with pytest.raises(ValueError, match="padding_id=7 of the encoder is not the tokenizer's"):
        make_trainer(max_steps=1).fit(model, datamodule=make_data())


def test_learning_rate_follows_the_fraction_of_the_run(
    make_trainer: Trainers, make_model: Models, make_data: Data, tmp_path: Path
) -> None:
    make_trainer(max_steps=50, val_check_interval=50).fit(make_model(), datamodule=make_data())
    rates = read_metrics(tmp_path / "metrics.csv")["train/lr"]
    assert rates[0] == 0.0
    assert rates[3] == pytest.approx(3e-3)  # 6 % of 50 steps
    assert rates[26] == pytest.approx(3e-3 * (1 - 0.98 * (26 / 50 - 0.06) / 0.94))


def test_a_run_can_end_after_a_number_of_tokens(make_trainer: Trainers, make_model: Models, make_data: Data) -> None:
    model = make_model(max_tokens=1000)
    trainer = make_trainer(max_steps=-1, max_epochs=-1)
    trainer.fit(model, datamodule=make_data())
    assert model.tokens >= 1000
    assert 1000 / (16 * 32) <= trainer.global_step < 10


def test_a_run_without_an_end_is_refused(make_trainer: Trainers, make_model: Models, make_data: Data) -> None:
    with pytest.raises(ValueError, match="no end that a schedule could follow"):
        make_trainer(max_steps=-1, max_epochs=-1).fit(make_model(), datamodule=make_data())


def test_a_constant_rate_in_hours(make_trainer: Trainers, make_model: Models, make_data: Data) -> None:
    trainer = make_trainer(max_steps=-1, max_epochs=-1, max_time={"seconds": 2})
    model = make_model(schedule=Constant(1.0))
    trainer.fit(model, datamodule=make_data())
    assert trainer.global_step > 0
    assert model._fraction() == 1.0


def test_a_checkpoint_builds_its_encoder_without_data(
    make_trainer: Trainers, make_model: Models, make_data: Data, tmp_path: Path
) -> None:
    model = make_model()
    trainer = make_trainer(max_steps=2)
    trainer.fit(model, datamodule=make_data())
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    fresh = make_model()
    loaded = MaskedLM.load_from_checkpoint(
        tmp_path / "model.ckpt", encoder=fresh.encoder, optimizer=fresh.optimizer, schedule=fresh.schedule
    )
    assert_same(weights(model), weights(loaded))
    assert loaded.vocabulary == model.vocabulary


def test_another_vocabulary_is_refused(make_trainer: Trainers, make_model: Models, make_data: Data) -> None:
    model = make_model()
    model.encoder.set_vocabulary(1234)
    with pytest.raises(ValueError, match=r"1234.*vocabulary"):
        make_trainer(max_steps=1).fit(model, datamodule=make_data())


def test_masks_are_filled_and_embeddings_written(
    make_trainer: Trainers, make_model: Models, make_data: Data, tmp_path: Path
) -> None:
    from datamodules.text import TextFiles

    texts = tmp_path / "texts.txt"
    texts.write_text("w1 [MASK] w3\nw4 w5\n")
    data = make_data(predict=TextFiles(str(texts), document="line"))
    model = make_model()
    make_trainer(max_steps=1).fit(model, datamodule=data)
    rows = [row for batch in make_trainer().predict(model, datamodule=data) for row in batch]
    assert [row["document"] for row in rows] == [0, 1]
    assert rows[1]["text"] == "w4 w5"
    assert rows[0]["text"].startswith("w1")
    assert rows[0]["text"].endswith("w3")
    assert "[MASK]" not in rows[0]["text"]
    model.predict_what = "embeddings"
    rows = [row for batch in make_trainer().predict(model, datamodule=data) for row in batch]
    assert [tuple(row["embedding"].shape) for row in rows] == [(32,), (32,)]

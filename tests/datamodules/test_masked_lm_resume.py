"""Exact continuation through a real Trainer: stops at and inside steps, other devices, batches and workers."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from datamodules import MaskedLMData
from datamodules.text import TextFiles
from datamodules.text.streams import TrainingStream
from modules.contracts import RaggedText

MakeData = Callable[..., MaskedLMData]

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers.*",
    "ignore:.*fork.*:DeprecationWarning",
    "ignore:Checkpoint directory .* exists and is not empty",
)


class Recorder(L.LightningModule):
    """Notes which documents each optimizer step sees; a parameter makes the Trainer step."""

    def __init__(self, stop_at_step: int | None = None, max_tokens: int | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.stop_at_step = stop_at_step
        self.max_tokens = max_tokens
        self.steps: dict[int, list[int]] = {}
        self.rates: dict[int, float] = {}

    def training_step(self, batch: list[RaggedText], batch_idx: int) -> torch.Tensor:
        if self.global_step == self.stop_at_step:
            raise RuntimeError("stopped by the test")
        self.steps[self.global_step] = [
            n for micro in batch if micro.documents is not None for n in micro.documents.tolist()
        ]
        masked = sum(int((micro.labels >= 0).sum()) for micro in batch if micro.labels is not None)
        self.rates[self.global_step] = masked / sum(micro.num_tokens for micro in batch)
        return self.weight * 1.0

    def validation_step(self, batch: RaggedText, batch_idx: int) -> None:
        """Validation must not move the position."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class SaveOnError(L.Callback):
    """Saves wherever an error strikes. (Lightning's own callback also changes which checkpoint is loaded.)"""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        trainer.save_checkpoint(self.path)


def fit(
    model: Recorder,
    data: MaskedLMData,
    folder: Path,
    max_steps: int,
    *callbacks: L.Callback,
    ckpt_path: Path | None = None,
    **options: Any,
) -> L.Trainer:
    """Trains with a validation every three batches and a checkpoint after every step."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = L.Trainer(
        max_steps=max_steps,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        val_check_interval=3,
        check_val_every_n_epoch=None,
        callbacks=[ModelCheckpoint(folder, save_last=True, every_n_train_steps=1, save_top_k=-1), *callbacks],
        **options,
    )
    trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
    return trainer


@pytest.fixture(scope="module")
def whole_run(make_data: MakeData, tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[int]]:
    """The documents of twelve uninterrupted steps."""
    model = Recorder()
    fit(model, make_data(), tmp_path_factory.mktemp("whole"), 12)
    return model.steps


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"micro_batch_size": 8},
        {"num_workers": 2},
        {"micro_batch_size": 6, "num_workers": 1},
    ],
)
def test_a_run_goes_on_exactly_with_any_layout(
    options: dict[str, int], make_data: MakeData, whole_run: dict[int, list[int]], tmp_path: Path
) -> None:
    first, second = Recorder(), Recorder()
    fit(first, make_data(micro_batch_size=12), tmp_path, 5)
    trainer = fit(second, make_data(**options), tmp_path, 12, ckpt_path=tmp_path / "last.ckpt")
    assert first.steps | second.steps == whole_run
    assert sorted(second.steps) == list(range(5, 12))
    assert trainer.global_step == 12
    third = Recorder()  # and once more, with yet another number of batches a step behind it
    fit(third, make_data(micro_batch_size=4), tmp_path, 14, ckpt_path=tmp_path / "last.ckpt")
    assert sorted(third.steps) == [12, 13]
    assert {len(documents) for documents in third.steps.values()} == {24}


def test_a_step_that_was_stopped_inside_is_done_again(
    make_data: MakeData, whole_run: dict[int, list[int]], tmp_path: Path
) -> None:
    first, second = Recorder(stop_at_step=4), Recorder()
    with pytest.raises(RuntimeError, match="stopped by the test"):
        fit(first, make_data(micro_batch_size=8), tmp_path, 12, SaveOnError(tmp_path / "stopped.ckpt"))
    fit(second, make_data(micro_batch_size=8), tmp_path, 12, ckpt_path=tmp_path / "stopped.ckpt")
    assert second.steps == {step: documents for step, documents in whole_run.items() if step >= 4}


def test_accumulation_is_not_the_trainers_affair(make_data: MakeData, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"accumulate_grad_batches=2 has no place here"):
        fit(Recorder(), make_data(micro_batch_size=8), tmp_path, 1, accumulate_grad_batches=2)


def test_an_error_in_setup_is_not_hidden_by_a_checkpoint(make_data: MakeData, tmp_path: Path) -> None:
    data = make_data(batch_size=24)
    data.prepare_data = lambda: None  # type: ignore[method-assign]
    data.folder = str(tmp_path)
    with pytest.raises(ValueError, match="no token store there"):
        fit(Recorder(), data, tmp_path, 1, SaveOnError(tmp_path / "stopped.ckpt"))


def falling(fraction: float) -> float:
    """A masking rate that is large in the first half of a run and zero in the second."""
    return 0.6 if fraction < 0.5 else 0.0


def test_a_masking_schedule_follows_the_steps(make_data: MakeData, tmp_path: Path) -> None:
    model = Recorder()
    fit(model, make_data(micro_batch_size=12, masking_rate=falling), tmp_path, 6)
    rates = [model.rates[step] for step in range(6)]
    assert min(rates[:3]) > 0.4
    assert rates[3:] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("packing", [False, True])
def test_a_masking_schedule_follows_the_tokens_on_any_layout(
    packing: bool, make_data: MakeData, tmp_path: Path
) -> None:
    data = make_data(packing=packing, max_seqlen=64)
    data.setup("fit")
    stream = data.train_dataloader().dataset
    assert isinstance(stream, TrainingStream)
    max_tokens = 10 * 24 * data.unique_units // len(stream.batches.examples) - 1  # by their mean, those of ten steps
    models = Recorder(stop_at_step=4, max_tokens=max_tokens), Recorder(stop_at_step=10, max_tokens=max_tokens)
    for model, micro_batch_size, ckpt_path in zip(models, (12, 8), (None, tmp_path / "last.ckpt"), strict=True):
        part = make_data(packing=packing, max_seqlen=64, micro_batch_size=micro_batch_size, masking_rate=falling)
        with pytest.raises(RuntimeError, match="stopped by the test"):
            fit(model, part, tmp_path, 100, ckpt_path=ckpt_path)
        assert part.mean_masking_rate == pytest.approx(0.3, abs=1e-3)
    rates = models[0].rates | models[1].rates
    assert [rates[step] > 0.4 for step in range(10)] == [True] * 5 + [False] * 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 18}, "seed=17, now it is 18"),
        ({"batch_size": 48}, "batch_size=24, now it is 48"),
        ({"validation": 10}, "held_out=50, now it is 10"),
        ({"packing": True}, "packed_seqlen=None, now it is 32"),
    ],
)
def test_other_data_is_refused(options: dict[str, Any], message: str, make_data: MakeData, tmp_path: Path) -> None:
    data = make_data()
    data.setup("fit")
    state = data.state_dict()
    assert state["digest"] == data.digest
    other = make_data(**options)
    other.load_state_dict(state)
    other.setup("fit")
    with pytest.raises(ValueError, match=message):
        other.train_dataloader()


@pytest.mark.parametrize("name", ["digest", "validation_digest"])
def test_other_texts_under_the_same_paths_are_refused(name: str, make_data: MakeData) -> None:
    data = make_data()
    data.setup("fit")
    again = make_data()
    again.load_state_dict(data.state_dict() | {name: "0" * 64})
    again.setup("fit")
    with pytest.raises(ValueError, match=f"{name}=000"):
        again.train_dataloader()


@pytest.mark.filterwarnings("ignore:You requested to overfit")  # Lightning takes any stream for a shuffled one
def test_limited_epochs_go_on_and_overfitting_stays(make_data: MakeData, tmp_path: Path) -> None:
    limited, overfit = Recorder(), Recorder()
    fit(limited, make_data(), tmp_path, 4, limit_train_batches=2, limit_val_batches=0)
    assert len({tuple(documents) for documents in limited.steps.values()}) == 4
    fit(overfit, make_data(), tmp_path, 4, overfit_batches=2, limit_val_batches=0)
    assert overfit.steps[0] == overfit.steps[2]
    assert overfit.steps[1] == overfit.steps[3]


def test_a_trainer_predicts_on_given_texts(make_data: MakeData, tmp_path: Path) -> None:
    class Lengths(Recorder):
        def predict_step(self, batch: RaggedText, batch_idx: int) -> list[int]:
            return batch.cu_seqlens.diff().tolist()

    (tmp_path / "lines.txt").write_text("kalo\ntusha bri\nen\n")
    data = make_data(predict=TextFiles(str(tmp_path / "lines.txt"), document="line"), micro_batch_size=2, batch_size=2)
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    lengths = trainer.predict(Lengths(), data)
    tokenizer = data._store.tokenizer()
    expected = [len(tokenizer.encode(text).ids) for text in ("kalo", "tusha bri", "en")]
    assert lengths == [expected[:2], [expected[2], 0]]

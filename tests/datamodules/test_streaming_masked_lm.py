"""StreamingMaskedLMData on a small local `litdata` folder: contract, masks, exact continuation, refusals."""

import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from datamodules import StreamingMaskedLMData
from datamodules.text import TextFiles, TokenizerFile, TokenStore
from modules.contracts import IGNORE, RaggedText

NUM_DOCUMENTS = 200

OPTIMIZE = f"""
import sys
import litdata
from datamodules.text import TokenStore

store = TokenStore(sys.argv[1])

def document(number):
    return store[number].astype("int32")

if __name__ == "__main__":
    litdata.optimize(fn=document, inputs=list(range({NUM_DOCUMENTS})), output_dir=sys.argv[2], chunk_size=64,
                     num_workers=1, keep_data_ordered=True)
"""

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers.*",
    "ignore:.*fork.*:DeprecationWarning",
    "ignore:Checkpoint directory .* exists and is not empty",
    "ignore:Your `IterableDataset` has `__len__` defined",  # Lightning, of any validation loader of litdata
)


@pytest.fixture(scope="module")
def folder(store: TokenStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("litdata")
    (root / "optimize.py").write_text(OPTIMIZE)
    command = [sys.executable, str(root / "optimize.py"), str(store.folder), str(root / "data")]
    environment = {"PYTHONPATH": str(Path.cwd()), "PATH": "/usr/bin:/bin", "HOME": str(root), "TMPDIR": str(root)}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return root / "data"


class Recorder(L.LightningModule):
    """Notes the documents and inputs of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.steps: dict[int, list[Any]] = {}

    def training_step(self, batch: list[RaggedText], batch_idx: int) -> torch.Tensor:
        self.steps[self.global_step] = [seen(micro) for micro in batch]
        return self.weight * 1.0

    def validation_step(self, batch: RaggedText, batch_idx: int) -> None:
        """Validation must not move the position."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def seen(batch: RaggedText) -> tuple[list[int], list[int]]:
    """Documents and corrupted tokens of a micro-batch."""
    assert batch.documents is not None
    return batch.documents.tolist(), batch.input_ids.tolist()


def make(folder: Path, store: TokenStore, **options: Any) -> StreamingMaskedLMData:
    defaults: dict[str, Any] = {"batch_size": 8, "micro_batch_size": 4, "max_seqlen": 32, "num_workers": 0}
    defaults["validation"] = str(folder)
    tokenizer = TokenizerFile(str(store.folder / "tokenizer.json"))
    return StreamingMaskedLMData(str(folder), tokenizer=tokenizer, **(defaults | options))


def fit(data: StreamingMaskedLMData, folder: Path, max_steps: int, ckpt_path: Path | None = None) -> Recorder:
    model = Recorder()
    trainer = L.Trainer(
        max_steps=max_steps,
        val_check_interval=10,
        check_val_every_n_epoch=None,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[ModelCheckpoint(folder, save_last=True, every_n_train_steps=1)],
    )
    trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
    return model


def test_the_contract_holds(folder: Path, store: TokenStore) -> None:
    data = make(folder, store)
    data.setup("fit")
    assert data.vocabulary.size == 320
    assert data.mean_masking_rate == 0.3
    epoch = [batch for step in islice(data.train_dataloader(), NUM_DOCUMENTS // 8) for batch in step]
    numbers = [number for batch in epoch for number in seen(batch)[0]]
    assert sorted(numbers) == list(range(NUM_DOCUMENTS))
    assert numbers != sorted(numbers)
    for batch in epoch:
        assert batch.labels is not None
        assert batch.rows is not None
        labelled = (batch.labels != IGNORE).nonzero().flatten()
        assert torch.equal(batch.rows[: len(labelled)], labelled)
        original = torch.where(batch.labels != IGNORE, batch.labels, batch.input_ids)
        bounds = batch.cu_seqlens.tolist()
        for place, number in enumerate(seen(batch)[0]):
            assert original[bounds[place] : bounds[place + 1]].tolist() == [2, *store[number][:30].tolist(), 3]
    first, second = ([seen(batch) for batch in data.val_dataloader()] for _ in range(2))
    assert first == second
    assert [number for numbers, _ in first for number in numbers] == list(range(NUM_DOCUMENTS))
    assert data.decode([2, *store[0].tolist(), 3]) == store.tokenizer().decode(store[0].tolist())


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_run_goes_on_exactly_over_the_end_of_an_epoch(
    num_workers: int, folder: Path, store: TokenStore, tmp_path: Path
) -> None:
    whole = fit(make(folder, store, num_workers=num_workers), tmp_path / "whole", 60)
    for stop in (7, 55):
        parts = tmp_path / str(stop)
        first = fit(make(folder, store, num_workers=num_workers), parts, stop)
        second = fit(make(folder, store, num_workers=num_workers), parts, 60, ckpt_path=parts / "last.ckpt")
        assert sorted(second.steps) == list(range(stop, 60))
        assert first.steps | second.steps == whole.steps


def test_changed_settings_are_refused(folder: Path, store: TokenStore, tmp_path: Path) -> None:
    fit(make(folder, store), tmp_path, 2)
    for options, message in [
        ({"seed": 18}, "seed=17, now it is 18"),
        ({"num_workers": 1}, "num_workers=0, now it is 1"),
        ({"micro_batch_size": 2}, "micro_batch_size=4, now it is 2"),
        ({"batch_size": 16}, "batch_size=8, now it is 16"),
    ]:
        with pytest.raises(ValueError, match=message):
            fit(make(folder, store, **options), tmp_path, 4, ckpt_path=tmp_path / "last.ckpt")


def test_a_folder_that_is_no_data_set_is_named(store: TokenStore, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no litdata data set there"):
        make(tmp_path, store).setup("fit")


def test_a_trainer_predicts_on_given_texts(folder: Path, store: TokenStore, tmp_path: Path) -> None:
    class Inputs(Recorder):
        def predict_step(self, batch: RaggedText, batch_idx: int) -> list[list[int]]:
            assert batch.labels is None
            return [
                part.tolist() for part in batch.input_ids[: batch.num_tokens].split(batch.cu_seqlens.diff().tolist())
            ]

    lines = ["kalo [MASK] miner", "tusha", "bri " * 100, "en", "lo"]
    (tmp_path / "lines.txt").write_text("\n".join(lines))
    data = make(folder, store, predict=TextFiles(str(tmp_path / "lines.txt"), document="line"))
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    batches = trainer.predict(Inputs(), data)
    tokenizer = store.tokenizer()
    expected = [tokenizer.encode(line).ids for line in lines]
    expected[2] = [*expected[2][:31], 3]
    assert batches == [expected[:4], [expected[4], [], [], []]]
    assert data.vocabulary.special_ids["mask"] in expected[0]
    assert data.decode(expected[1]) == "tusha"
    with pytest.raises(ValueError, match=r"set data\.init_args\.predict"):
        trainer.predict(Inputs(), make(folder, store))

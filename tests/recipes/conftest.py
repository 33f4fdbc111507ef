"""A masked LM recipe on a few hundred made-up documents, small enough to train in a second."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Checkpoint

from callbacks import Meter, MetricsCsv, RandomState, RunFolder
from datamodules import MaskedLMData
from datamodules.text import TextFiles, WordPieceTokenizer
from modules.encoder import MosaicBert
from modules.optim import WarmupLinear
from recipes import MaskedLM
from recipes.run.checkpoint_io import AtomicCheckpointIO


def write_corpus(folder: Path) -> Path:
    """300 documents of 5 to 60 made-up words, one a line."""
    rng = random.Random(0)
    words = [f"w{number}" for number in range(200)]
    path = folder / "corpus.txt"
    path.write_text("".join(" ".join(rng.choices(words, k=rng.randint(5, 60))) + "\n" for _ in range(300)))
    return path


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def make_data(corpus: Path) -> Callable[..., MaskedLMData]:
    def make(**arguments: Any) -> MaskedLMData:
        defaults: dict[str, Any] = {
            "tokenizer": WordPieceTokenizer(500),
            "batch_size": 16,
            "micro_batch_size": 8,
            "max_seqlen": 32,
            "validation": 20,
            "num_workers": 0,
            "folder": str(corpus.parent / "stores"),
            "num_processes": 1,
        }
        return MaskedLMData(TextFiles(str(corpus), document="line"), **(defaults | arguments))

    return make


@pytest.fixture
def make_model() -> Callable[..., MaskedLM]:
    def make(*, dropout: float = 0.1, **arguments: Any) -> MaskedLM:
        torch.manual_seed(3)
        encoder = MosaicBert(dim=32, num_layers=2, num_heads=4, hidden_dim=48, dropout=dropout)
        defaults: dict[str, Any] = {
            "optimizer": lambda parameters: torch.optim.AdamW(parameters, lr=3e-3, weight_decay=0.02),
            "schedule": WarmupLinear(),
        }
        return MaskedLM(encoder, **(defaults | arguments))

    return make


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., L.Trainer]:
    def make(*callbacks: L.Callback, folder: Path = tmp_path, **arguments: Any) -> L.Trainer:
        torch.manual_seed(4)
        defaults: dict[str, Any] = {
            "accelerator": "cpu",
            "devices": 1,
            "max_steps": 20,
            "log_every_n_steps": 1,
            "val_check_interval": 10,
            "check_val_every_n_epoch": None,
            "num_sanity_val_steps": 0,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": any(isinstance(c, Checkpoint) for c in callbacks),
            "logger": MetricsCsv(folder),
            "plugins": [AtomicCheckpointIO()],
        }
        always = [RunFolder(folder, config=""), RandomState(), Meter()]
        return L.Trainer(callbacks=[*always, *callbacks], **(defaults | arguments))

    return make

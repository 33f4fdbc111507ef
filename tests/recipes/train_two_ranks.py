"""One of the processes of `test_two_processes.py`: trains three steps in fp64 and rank 0 saves the weights.

Usage: python train_two_ranks.py STRATEGY DEVICES CORPUS FOLDER [FAILING_RANK [DROPOUT]]
Lightning starts the other rank by running this again. The failing rank, if any, raises an error in its second step. A
checkpoint in the folder is gone on from.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy, Strategy

from callbacks import InferenceAwareCost, LastCheckpoint, Meter, MetricsCsv, RandomState, RunFolder
from datamodules import MaskedLMData
from datamodules.text import TextFiles, WordPieceTokenizer
from modules.encoder import MosaicBert
from modules.optim import WarmupLinear
from recipes import FullyShardedStrategy, MaskedLM


class Failure(L.Callback):
    def __init__(self, rank: int) -> None:
        self.rank = rank

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_rank == self.rank and batch_idx == 1:
            raise RuntimeError(f"rank {self.rank} fails")


def main(strategy: str, devices: int, corpus: Path, folder: Path, failing_rank: int, dropout: float) -> None:
    L.seed_everything(5, verbose=False)
    strategies: dict[str, Strategy | str] = {
        "ddp": DDPStrategy(process_group_backend="gloo"),
        "fsdp": FullyShardedStrategy(process_group_backend="gloo"),
        "auto": "auto",
    }
    data = MaskedLMData(
        TextFiles(str(corpus), document="line"),
        tokenizer=WordPieceTokenizer(500),
        batch_size=16,
        micro_batch_size=4,
        max_seqlen=32,
        validation=20,
        num_workers=0,
        folder=str(corpus.parent / "stores"),
        num_processes=1,
    )
    encoder = MosaicBert(dim=32, num_layers=2, num_heads=4, hidden_dim=48, dropout=dropout).double()
    model = MaskedLM(encoder, optimizer=lambda p: torch.optim.AdamW(p, lr=3e-3), schedule=WarmupLinear())
    trainer = L.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy=strategies[strategy],
        precision="64-true" if strategy != "fsdp" else "32-true",
        max_steps=3,
        log_every_n_steps=1,
        val_check_interval=3,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=MetricsCsv(folder),
        callbacks=[
            RunFolder(folder, config=""),
            RandomState(),
            Meter(),
            LastCheckpoint(every_n_steps=1),
            InferenceAwareCost(),
            Failure(failing_rank),
        ],
    )
    last = folder / "checkpoints" / "last.ckpt"
    trainer.fit(model, datamodule=data, ckpt_path=last if last.exists() else None)


if __name__ == "__main__":
    words = sys.argv[1:] + ["-1", "0.0"][len(sys.argv) - 5 :]
    main(words[0], int(words[1]), Path(words[2]), Path(words[3]), int(words[4]), float(words[5]))

"""One of the processes of `test_few_shot_processes.py`: trains and validates a few-shot learner in fp64.

Usage: python train_few_shot_ranks.py DEVICES FOLDER
Lightning starts the other rank by running this again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import lightning as L
import torch
from few_shot_parts import small_data, small_model
from lightning.pytorch.strategies import DDPStrategy

from callbacks import LastCheckpoint, Meter, MetricsCsv, RandomState, RunFolder, ScoreWriter


def main(devices: int, folder: Path) -> None:
    # no Adam, which blows up the rounding of gradients near zero
    model = small_model(exact=True, optimizer=lambda p: torch.optim.SGD(p, lr=0.1)).double()
    L.seed_everything(5, verbose=False)
    trainer = L.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy=DDPStrategy(process_group_backend="gloo") if devices > 1 else "auto",
        precision="64-true",
        max_steps=3,
        log_every_n_steps=2,
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
            ScoreWriter(),
        ],
    )
    trainer.fit(model, datamodule=small_data(eval_batch_size=5))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))

"""Writes what `galley predict` yields into the run folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import BasePredictionWriter

from callbacks.files import written_whole
from callbacks.run_folder import run_folder


class PredictionWriter(BasePredictionWriter):
    """Writes predictions once all are there, one file a rank, in the order of the documents.

    A recipe's `predict_step` returns rows as dictionaries: plain values become a line of `predictions-{rank}.jsonl`;
    values that are tensors are stacked under their name in `predictions-{rank}.safetensors`.
    """

    def __init__(self) -> None:
        super().__init__(write_interval="epoch")

    def write_on_epoch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, predictions: Sequence[Any], batch_indices: Sequence[Any]
    ) -> None:
        rows = [row for batch in predictions for row in batch]
        folder = run_folder(trainer)
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"predictions-{trainer.global_rank}"
        plain = [{k: v for k, v in row.items() if not isinstance(v, torch.Tensor)} for row in rows]
        with written_whole(folder / f"{stem}.jsonl") as path:
            path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in plain))
        names = [name for name, value in rows[0].items() if isinstance(value, torch.Tensor)] if rows else []
        if names:
            from safetensors.torch import save_file

            with written_whole(folder / f"{stem}.safetensors") as path:
                save_file({name: torch.stack([row[name] for row in rows]).contiguous() for name in names}, path)
        print(f"{len(rows)} predictions in {folder}", flush=True)

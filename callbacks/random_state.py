"""The random state of every rank travels in the checkpoint, so that dropout goes on where it stopped."""

from __future__ import annotations

import random
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import distributed


class RandomState(L.Callback):
    """Saves and restores the generators of Python, NumPy and torch (CPU and this rank's GPU), as plain data.

    The command line adds it to every run. Each of several ranks draws from a stream of its own, so that their dropout
    differs. With another number of ranks than before there is no state to go on from: every rank then starts a new
    stream, and a line says so.
    """

    def __init__(self) -> None:
        self._restored: list[dict[str, Any]] | None = None

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        # Saving is collective in any case: all ranks are here.
        states: list[Any] = [None] * trainer.world_size
        if trainer.world_size > 1:
            distributed.all_gather_object(states, _capture())
        else:
            states = [_capture()]
        checkpoint["random_states"] = states

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        self._restored = checkpoint.get("random_states")

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._restored is not None and len(self._restored) == trainer.world_size:
            _restore(self._restored[trainer.global_rank])
        elif self._restored is not None or trainer.world_size > 1:
            _start_stream(torch.initial_seed(), trainer.global_rank, trainer.global_step)
        if self._restored is not None and len(self._restored) != trainer.world_size and trainer.is_global_zero:
            print(
                f"random state not restored: the checkpoint is of {len(self._restored)} ranks, this run has "
                f"{trainer.world_size} (dropout differs from an uninterrupted run; data and masks do not)"
            )
        self._restored = None


def _start_stream(seed: int, rank: int, step: int) -> None:
    """Seed all generators of this process by the run's seed, the rank and the step."""
    own = int(np.random.SeedSequence([seed % 2**64, rank, step]).generate_state(1)[0])
    random.seed(own)
    np.random.seed(own)
    torch.manual_seed(own)


def _capture() -> dict[str, Any]:
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    state = {
        "python": [version, list(internal), gauss],
        "numpy": [name, torch.tensor(keys, dtype=torch.int64), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _restore(state: dict[str, Any]) -> None:
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())

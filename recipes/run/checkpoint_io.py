"""Checkpoints on disk: whole or not at all, and plain data only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, syncs, renames; reads with `weights_only=True`.

    Lightning's own writer goes through the machine's temporary folder: across file systems its last move is a copy that
    a kill can cut in half, and it holds the whole checkpoint in memory a second time.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write `checkpoint` to the local file `path`."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint of plain data.

        Raises:
            FileNotFoundError: There is no such file.
            pickle.UnpicklingError: It holds more than plain data and is not loaded, as that could run code.
        """
        return super().load_checkpoint(path, map_location=map_location, weights_only=True)

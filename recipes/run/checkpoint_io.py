"""Checkpoints on disk: whole or not at all, and plain data only."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO


def read_header(path: Path) -> dict[str, Any]:
    """What a checkpoint says of itself; its tensors are mapped, not read.

    Args:
        path: A checkpoint file, or the folder of a sharded one.

    Raises:
        ValueError: It is damaged, or no checkpoint of a run.
    """
    file = path / "meta.pt" if path.is_dir() else path  # a sharded checkpoint keeps all but its tensors there
    if not file.is_file():
        raise ValueError(f"{path}: no checkpoint: the folder holds no {file.name}")
    try:
        header = torch.load(file, weights_only=True, map_location="cpu", mmap=True)
    except (RuntimeError, OSError, pickle.UnpicklingError, EOFError) as error:
        cause = str(error).split("\n", 1)[0][:80]
        raise ValueError(f"{path}: damaged, or no checkpoint at all: torch cannot read it ({cause})") from error
    if not isinstance(header, dict) or "global_step" not in header:
        raise ValueError(f"{path}: no checkpoint of a run: it holds no global_step")
    return header


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

"""Weights in files: what is read never runs code, what is written appears whole or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")


def load_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict, on the CPU, from a Hugging Face folder or from one file.

    Args:
        path: A folder with `model.safetensors` (or its shards, or `pytorch_model.bin`); or a file `.safetensors`,
            `.bin`, `.pt`, or `.ckpt`, whose `state_dict` entry is taken.

    Raises:
        ValueError: There is nothing to read, the ending is unknown, or a file holds more than tensors and plain data.
    """
    path = Path(path)
    if path.is_dir():
        path = _file_in(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file or folder of weights")
    if path.name.endswith(".index.json"):
        shards = sorted(set(json.loads(path.read_text())["weight_map"].values()))
        return {name: tensor for shard in shards for name, tensor in load_weights(path.parent / shard).items()}
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    if path.suffix in (".bin", ".pt", ".ckpt"):
        return _load_pickle(path)
    raise ValueError(f"{path}: unknown kind of weights; known are .safetensors, .bin, .pt, .ckpt")


def save_folder(folder: str | Path, weights: dict[str, Tensor], config: dict[str, Any]) -> None:
    """Write `model.safetensors` and `config.json` into a new folder, under a temporary name until both are whole.

    Raises:
        ValueError: The folder exists.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    if folder.exists():
        raise ValueError(f"{folder} exists: remove it, or export to another folder")
    temporary = folder.with_name(f".{folder.name}.incomplete")
    shutil.rmtree(temporary, ignore_errors=True)  # left by an export that was killed
    temporary.mkdir(parents=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    save_file(tensors, temporary / "model.safetensors", metadata={"format": "pt"})
    (temporary / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    temporary.rename(folder)


def _file_in(folder: Path) -> Path:
    for name in _FILES:
        if (folder / name).is_file():
            return folder / name
    raise ValueError(f"{folder}: holds none of {', '.join(_FILES)}")


def _load_pickle(path: Path) -> dict[str, Tensor]:
    from pickle import UnpicklingError

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise ValueError(f"{path}: holds more than tensors and plain data, and is not loaded") from error
    state = content.get("state_dict", content)
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}

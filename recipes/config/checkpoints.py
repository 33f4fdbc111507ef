"""A configuration beside the checkpoint that it goes on from: no difference passes silently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch

from recipes.config.problems import Problem
from recipes.config.tree import Node

KEY = "model_config"
MISSING = "not there"


class ModelInCheckpoint(L.Callback):
    """Writes the model's configuration into every checkpoint, whatever the module itself keeps as hyper-parameters.

    Args:
        model: The resolved `model` section, plain: `class_path` and `init_args`.
    """

    def __init__(self, model: dict[str, Any]) -> None:
        self.model = model

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[KEY] = self.model


def check_checkpoint(path: Path, model: dict[str, Any], tree: Node) -> list[Problem]:
    """Differences between the model that a checkpoint was made with and the one that is configured.

    Lightning lets the checkpoint win over YAML and command line for a file, and the configuration win for everything
    else (`last`, sharded folders), both silently (#21455, #21408, #20801).

    Args:
        path: A checkpoint file, or the folder of a sharded one.
        model: The resolved `model` section, plain: `class_path` and `init_args`.
        tree: The configuration as written, for the places of its values.

    Returns:
        One problem for each value that differs, with both values; none where the checkpoint says nothing of its model.
    """
    saved = _saved_model(path)
    if saved is None:
        return []
    old, new = _flat(saved), _flat(model)
    sources = {key: node.source for key, node in tree.leaves()}
    return [
        Problem(
            sources.get(f"model.{key}", "default"),
            f"model.{key}",
            f"{new.get(key, MISSING)!r} differs from {old.get(key, MISSING)!r} in {path}: --ckpt_path goes on with the "
            "same model; to start from its weights alone use --model.init_from",
        )
        for key in dict.fromkeys([*new, *old])
        if new.get(key, MISSING) != old.get(key, MISSING)
    ]


def _saved_model(path: Path) -> dict[str, Any] | None:
    file = path / "meta.pt" if path.is_dir() else path  # a sharded checkpoint keeps all but its tensors there
    checkpoint = torch.load(file, weights_only=True, map_location="cpu", mmap=True)
    saved: dict[str, Any] | None = checkpoint.get(KEY)
    return saved


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as {dotted key: value}."""
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    children = ((f"{prefix}.{key}" if prefix else str(key), child) for key, child in value.items())
    return {name: leaf for key, child in children for name, leaf in _flat(child, key).items()}

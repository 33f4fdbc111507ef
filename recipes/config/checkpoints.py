"""A configuration beside the checkpoint that it goes on from: no difference passes silently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L

from recipes.config.problems import Problem
from recipes.config.tree import Node
from recipes.run.changes import model_differences
from recipes.run.checkpoint_io import read_header

KEY = "model_config"


class ModelInCheckpoint(L.Callback):
    """Writes the model's configuration into every checkpoint, whatever the module itself keeps as hyper-parameters.

    Args:
        model: The resolved `model` section, plain: `class_path` and `init_args`.
    """

    def __init__(self, model: dict[str, Any]) -> None:
        self.model = model

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[KEY] = self.model


def check_checkpoint(path: Path, model: dict[str, Any], tree: Node, *, training: bool) -> list[Problem]:
    """Differences between the model that a checkpoint was made with and the one that is configured.

    Lightning lets the checkpoint win over YAML and command line for a file, and the configuration win for everything
    else (`last`, sharded folders), both silently (#21455, #21408, #20801).

    Args:
        path: A checkpoint file, or the folder of a sharded one.
        model: The resolved `model` section, plain: `class_path` and `init_args`.
        tree: The configuration as written, for the places of its values.
        training: Whether training goes on from it; an evaluation needs the same weights only.

    Returns:
        One problem for each value that differs, with both values; none where the checkpoint says nothing of its model.
        One problem where it cannot be read.
    """
    sources = {key: node.source for key, node in tree.leaves()}
    try:
        saved = read_header(path).get(KEY)
    except ValueError as error:
        return [Problem(sources["ckpt_path"], "ckpt_path", str(error))]
    differing = model_differences(saved, model, training=training) if saved is not None else []
    other_classes = [
        change.key.removesuffix("class_path") for change in differing if change.key.endswith(".class_path")
    ]
    differing = [  # of another class, all arguments differ, which says nothing
        change for change in differing if not any(change.key.startswith(f"{key}init_args.") for key in other_classes)
    ]
    way_out = (
        "--ckpt_path goes on with the same model; to start from its weights alone use --model.init_from"
        if training
        else "its weights mean nothing in another model, restore the value or the overlay (-c) that gave it"
    )
    return [
        Problem(
            sources.get(change.key, "default"),
            change.key,
            f"{change.new!r} differs from {change.old!r} in {path}: {way_out}",
        )
        for change in differing
    ]

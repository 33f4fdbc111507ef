"""Hyperparameters of a recipe, kept plain, so that its checkpoints load with `weights_only=True`."""

from __future__ import annotations

import inspect

import lightning as L
from lightning.pytorch.core.mixins.hparams_mixin import _given_hyperparameters


def save_plain_hyperparameters(module: L.LightningModule, *, objects: tuple[str, ...]) -> None:
    """`save_hyperparameters` for a recipe some of whose arguments are objects. Call it in `__init__`.

    Built from YAML, the command line hands in every argument as class paths and plain values, and all are kept: the
    checkpoint can build the recipe again. Built in Python, the arguments named in `objects` are objects, which a plain
    checkpoint cannot hold: they are left out, and `load_from_checkpoint` takes them from its caller.
    """
    frame = inspect.currentframe()
    assert frame is not None
    from_yaml = _given_hyperparameters.get() is not None
    module.save_hyperparameters(ignore=() if from_yaml else objects, frame=frame.f_back)

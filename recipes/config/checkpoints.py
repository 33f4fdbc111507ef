"""A configuration beside the checkpoint that it goes on from: no difference passes silently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from recipes.config.problems import Problem
from recipes.config.tree import Node

MISSING = "not there"


def check_checkpoint(path: Path, model: dict[str, Any], tree: Node) -> list[Problem]:
    """Differences between the model that a checkpoint was made with and the one that is configured.

    Lightning lets the checkpoint win over YAML and command line for a file, and the configuration win for everything
    else (`last`, sharded folders), both silently (#21455, #21408, #20801).

    Args:
        path: A checkpoint file, or the folder of a sharded one.
        model: The resolved `model` section, plain: `class_path` and `init_args`.
        tree: The configuration as written, for the places of its values.

    Returns:
        One problem for each value that differs, with both values.
    """
    hparams = _hyper_parameters(path)
    if not hparams:
        return []
    saved = {"class_path": hparams.pop("_class_path", model["class_path"])}
    saved |= {f"init_args.{key}": value for key, value in _flat(hparams).items()}
    configured = {"class_path": model["class_path"]}
    configured |= {f"init_args.{key}": value for key, value in _flat(model.get("init_args") or {}).items()}
    sources = {key: node.source for key, node in tree.leaves()}
    return [
        Problem(
            sources.get(f"model.{key}", "default"),
            f"model.{key}",
            f"{configured.get(key, MISSING)!r} differs from {saved.get(key, MISSING)!r} in {path}: "
            "--ckpt_path goes on with the same model; start a new run from its weights with --model.init_from",
        )
        for key in dict.fromkeys([*configured, *saved])
        if configured.get(key, MISSING) != saved.get(key, MISSING)
    ]


def _hyper_parameters(path: Path) -> dict[str, Any]:
    file = path / "meta.pt" if path.is_dir() else path  # a sharded checkpoint keeps all but its tensors there
    checkpoint = torch.load(file, weights_only=True, map_location="cpu", mmap=True)
    hparams = dict(checkpoint.get("hyper_parameters", {}))
    hparams.pop("_instantiator", None)
    return hparams


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as {dotted key: value}."""
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    children = ((f"{prefix}.{key}" if prefix else str(key), child) for key, child in value.items())
    return {name: leaf for key, child in children for name, leaf in _flat(child, key).items()}

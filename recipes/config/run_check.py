"""The check of a whole configuration: its sections, and whether this machine can do what it asks for."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import lightning as L

from recipes.config.check import check_arguments, check_value
from recipes.config.paths import missing_files
from recipes.config.problems import Problem
from recipes.config.tree import Node
from recipes.config.upstream import parameters

SUBCOMMANDS = ("fit", "validate", "test", "predict")
REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True)
class _Section:
    """A top-level key."""

    name: str
    annotation: Any
    default: Any = None


def check_run(tree: Node, subcommand: str) -> list[Problem]:
    """All problems of a configuration that `galley fit|validate|test|predict` is to run.

    Args:
        tree: The composed configuration; values of the command line are turned to the type that is wanted.
        subcommand: The method of the Trainer that will run.
    """
    sections = _options_of(subcommand) | {section.name: section for section in _parts(data_required=True)}
    sections["seed_everything"] = _Section("seed_everything", int, REQUIRED)
    return _check_sections(tree, sections)


def check_load(tree: Node) -> list[Problem]:
    """All problems of a configuration of whichever command, of which only `model` must be there."""
    sections = {name: p for command in SUBCOMMANDS for name, p in _options_of(command).items()}
    sections |= {section.name: section for section in _parts(data_required=False)}
    sections["seed_everything"] = _Section("seed_everything", int)
    return _check_sections(tree, sections)


def _options_of(subcommand: str) -> dict[str, Any]:
    given = ("model", "datamodule", "train_dataloaders", "val_dataloaders", "dataloaders")
    return {name: p for name, p in parameters(L.Trainer, subcommand).items() if name not in given}


def check_machine(tree: Node) -> list[Problem]:
    """All that a configuration asks for and this machine does not have: devices, files."""
    return _missing_devices(tree) + missing_files(tree)


def _missing_devices(tree: Node) -> list[Problem]:
    trainer = tree.value.get("trainer")
    accelerator = trainer.value.get("accelerator") if trainer is not None and trainer.is_mapping else None
    if accelerator is None or accelerator.value not in ("gpu", "cuda"):
        return []
    import torch

    available = torch.cuda.device_count()
    if not available:
        way_out = "use --trainer.accelerator=cpu --trainer.devices=1 --trainer.precision=32-true"
        message = f"no GPU that torch can use (value {accelerator.value!r}): {way_out}"
        return [Problem(accelerator.source, "trainer.accelerator", message)]
    devices = trainer.value.get("devices") if trainer is not None else None
    if devices is not None and type(devices.value) is int and devices.value > available:
        message = f"more GPUs than this machine has (value {devices.value}): use --trainer.devices={available}"
        return [Problem(devices.source, "trainer.devices", message)]
    return []


def check_parts(tree: Node, names: tuple[str, ...] = ("model", "data")) -> list[Problem]:
    """All problems of the sections `names`, whatever the others and the machine; a section may be absent."""
    sections = {section.name: section for section in _parts(data_required=False)}
    present = {name: tree.value[name] for name in names if name in tree.value}
    return [p for name, node in present.items() for p in check_value(node, sections[name].annotation, key=name)]


def _parts(*, data_required: bool) -> tuple[_Section, ...]:
    return (
        _Section("trainer", None),
        _Section("model", L.LightningModule, REQUIRED),
        _Section("data", L.LightningDataModule, REQUIRED if data_required else None),
    )


def _check_sections(tree: Node, sections: dict[str, Any]) -> list[Problem]:
    others = {name: child for name, child in tree.value.items() if name != "trainer"}
    problems = check_arguments(Node(others, tree.source), sections, key="", owner="the configuration")
    return problems + _check_trainer(tree.value.get("trainer"))


def _check_trainer(node: Node | None) -> list[Problem]:
    if node is None or node.value is None:
        return []
    if not node.is_mapping:
        return [Problem(node.source, "trainer", f"must hold options of the Trainer (value {node.plain()!r})")]
    return check_arguments(node, parameters(L.Trainer), key="trainer", owner="the Trainer")

"""Mistakes of the user that show only when classes are built or a run is on its way, told like those of the check."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L

from recipes.config.annotations import Slot, allowed
from recipes.config.classes import UnusableClassError, resolve
from recipes.config.debugging import debugging
from recipes.config.faults import fault
from recipes.config.problems import ConfigError, Problem
from recipes.config.tree import Node
from recipes.config.upstream import Parser, parameters


@contextmanager
def told(tree: Node, *, building: bool) -> Iterator[None]:
    """Raise the user's mistake behind an exception as a `ConfigError`; defects pass, and everything under `--debug`.

    Args:
        tree: The configuration of the run.
        building: Whether classes are built from it within; then all that refuse their arguments are told, where the
            exception is only of the first.
    """
    try:
        yield
    except Exception as error:
        problem = fault(error, tree, building=building)
        if problem is None or debugging():
            raise
        others = refused(tree) if building else []
        first = [] if problem.message in {other.message for other in others} else [problem]
        raise ConfigError(first + others) from error


def refused(tree: Node) -> list[Problem]:
    """What the classes of `model`, `data` and `trainer.callbacks` refuse, each built without its siblings."""
    trainer = tree.value.get("trainer")
    callbacks = trainer.value.get("callbacks") if trainer is not None and trainer.is_mapping else None
    places: list[tuple[str, Node | None, Any]] = [
        ("model", tree.value.get("model"), L.LightningModule),
        ("data", tree.value.get("data"), L.LightningDataModule),
        ("trainer.callbacks", callbacks, parameters(L.Trainer)["callbacks"].annotation),
    ]
    return [problem for key, node, kind in places if node is not None for problem in _refused(node, kind, key)]


def _refused(node: Node, annotation: Any, key: str) -> list[Problem]:
    kind = allowed(annotation)
    if node.class_path is not None and (kind.slots or kind.anything):
        return _refused_class(node, kind.slots, key)
    if isinstance(node.value, list) and kind.items is not None:
        children = [(f"{key}[{index}]", child) for index, child in enumerate(node.value)]
        return [problem for place, child in children for problem in _refused(child, kind.items, place)]
    if node.is_mapping and kind.values is not None:
        return [p for name, child in node.value.items() for p in _refused(child, kind.values, f"{key}.{name}")]
    return []


def _refused_class(node: Node, slots: tuple[Slot, ...], key: str) -> list[Problem]:
    """Of a class that cannot be built: what its parts refuse, else what itself does."""
    try:
        found, num_given = resolve(node.class_path or "", slots)
    except UnusableClassError:
        return []  # inside an untyped value: not ours to judge
    is_built = inspect.isclass(found) and not num_given  # else it waits for more arguments
    problem = _build_alone(node, found, key) if is_built else None
    if is_built and problem is None:
        return []
    arguments = node.value.get("init_args")
    children = arguments.value if arguments is not None and arguments.is_mapping else {}
    known = parameters(found)
    below = [
        one
        for name, child in children.items()
        if name in known
        for one in _refused(child, known[name].annotation, f"{key}.init_args.{name}")
    ]
    return below or ([problem] if problem is not None else [])


def _build_alone(node: Node, found: type, key: str) -> Problem | None:
    parser = Parser()
    parser.add_subclass_arguments(found, "it")
    try:
        parser.instantiate_classes(parser.parse_object({"it": node.plain()}))
    except Exception as error:
        return fault(error, node, building=True, key=key)
    return None

"""Loggers write into the folder of the run unless their configuration says otherwise."""

from __future__ import annotations

from recipes.config.classes import UnusableClassError, resolve
from recipes.config.tree import Node
from recipes.config.upstream import parameters


def open_save_dirs(tree: Node) -> list[Node]:
    """Give every logger of a configuration that takes a `save_dir` and has none an empty one.

    Returns:
        The new nodes, to be set once the run has a folder.
    """
    trainer = tree.value.get("trainer")
    logger = trainer.value.get("logger") if trainer is not None and trainer.is_mapping else None
    if logger is None:
        return []
    entries = logger.value if isinstance(logger.value, list) else [logger]
    return [node for entry in entries for node in _open(entry)]


def _open(logger: Node) -> list[Node]:
    if logger.class_path is None:
        return []
    try:
        found, _ = resolve(logger.class_path, ())
    except UnusableClassError:
        return []  # the check will say so
    arguments = logger.value.setdefault("init_args", Node({}, logger.source))
    if "save_dir" not in parameters(found) or not arguments.is_mapping or "save_dir" in arguments.value:
        return []
    arguments.value["save_dir"] = Node("", logger.source)
    return [arguments.value["save_dir"]]

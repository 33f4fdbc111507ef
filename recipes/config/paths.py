"""Files that a configuration names and that must be there before a run starts."""

from __future__ import annotations

import glob
from pathlib import Path

from recipes.config.problems import Problem
from recipes.config.tree import Node

FILE_NAMES = ("file", "files", "paths", "ckpt_path", "init_from")
"""Parameters with such a name, or with `_file`, `_files` at the end, name files that are read."""


def missing_files(tree: Node) -> list[Problem]:
    """One problem for each file (or pattern) to be read that is not there; remote addresses are not looked up."""
    problems = []
    for key, leaf in tree.leaves():
        name = key.rsplit(".", 1)[-1]
        if name in FILE_NAMES or name.endswith(("_file", "_files")):
            nodes = leaf.value if isinstance(leaf.value, list) else [leaf]
            problems += [_missing(node, key) for node in nodes if not _is_there(node.value)]
    return problems


def _is_there(value: object) -> bool:
    if not isinstance(value, str) or "://" in value:
        return True
    return Path(value).expanduser().exists() or bool(glob.glob(value, recursive=True))


def _missing(node: Node, key: str) -> Problem:
    looked_for = Path(node.value).absolute()
    return Problem(node.source, key, f"no such file (value {node.value!r}), looked for {looked_for}")

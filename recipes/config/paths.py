"""Files that a configuration names and that must be there before a run starts."""

from __future__ import annotations

import glob
from pathlib import Path

from recipes.config.problems import Problem
from recipes.config.tree import Node

FILE_NAMES = ("file", "files", "paths", "ckpt_path", "init_from")
"""Parameters with such a name, or with `_file`, `_files` at the end, name files that are read."""


def missing_file(node: Node, key: str) -> list[Problem]:
    """A problem where a parameter that names a file to be read names none; remote addresses are not looked up."""
    name = key.rsplit(".", 1)[-1].split("[")[0]
    if not (name in FILE_NAMES or name.endswith(("_file", "_files"))) or not isinstance(node.value, str):
        return []
    if "://" in node.value or Path(node.value).expanduser().exists() or glob.glob(node.value, recursive=True):
        return []
    return [Problem(node.source, key, f"no such file (value {node.value!r}), looked for {Path(node.value).absolute()}")]

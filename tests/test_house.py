"""The arrows of the house: who may import whom. An arrow that runs back up is a fault."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("recipes", "modules", "datamodules", "callbacks")
HEAVY = ("triton", "litdata", "transformers", "flash_attn", "matplotlib", "datasets", "wandb", "mlflow")

ARROWS: dict[str, tuple[str, ...]] = {
    "recipes/cli.py": PACKAGES,
    "recipes/commands": PACKAGES,
    "recipes": ("recipes", "modules"),
    "callbacks": ("callbacks", "modules"),
    "datamodules": ("datamodules", "modules.contracts"),
    "modules/kernels": ("modules.kernels",),
    "modules/scaling": ("modules.scaling",),
    "modules": ("modules",),
}
"""What the files below a path may import of the house; the first path that fits counts."""

FILES = [path for package in PACKAGES for path in sorted((REPOSITORY / package).rglob("*.py"))]


@cache
def imports(path: Path, *, top_only: bool = False) -> tuple[str, ...]:
    """Absolute names of what a file imports; with `top_only`, of what it imports as soon as it is imported."""
    return tuple(_imports(path, top_only))


def _imports(path: Path, top_only: bool) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    package = path.relative_to(REPOSITORY).parent.parts
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            yield from (f"{module}.{alias.name}" for alias in node.names)


def allowed(path: Path) -> tuple[str, ...]:
    relative = path.relative_to(REPOSITORY)
    return next(names for place, names in ARROWS.items() if relative.is_relative_to(place))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_arrows_run_one_way(path: Path) -> None:
    ours = [name for name in imports(path) if name.split(".")[0] in PACKAGES]
    wrong = [name for name in ours if not any(f"{name}.".startswith(f"{place}.") for place in allowed(path))]
    assert wrong == [], f"{path.relative_to(REPOSITORY)} may import {allowed(path)} only"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_heavy_libraries_are_imported_where_used(path: Path) -> None:
    """A file may be all about such a library, if nothing imports that file before it is needed."""
    top = [name for name in imports(path, top_only=True) if name.split(".")[0] in HEAVY]
    module = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
    eager = {file: imports(file, top_only=True) for file in FILES if file != path}
    users = [file for file, names in eager.items() if any(f"{name}.".startswith(f"{module}.") for name in names)]
    assert not (top and users), f"{top} is imported as soon as {users} is"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_files_are_small_and_plain(path: Path) -> None:
    text = path.read_text()
    assert text.isascii()
    assert len(text.splitlines()) <= 350
    assert ast.get_docstring(ast.parse(text)), "a file says what it is"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.end_lineno:
            assert node.end_lineno - node.lineno < 60 + len((ast.get_docstring(node) or "").splitlines()), node.name


def test_scaling_is_numpy_only() -> None:
    names = {name.split(".")[0] for path in (REPOSITORY / "modules" / "scaling").glob("*.py") for name in imports(path)}
    assert not names & {"torch", "lightning", "scipy", "matplotlib"}

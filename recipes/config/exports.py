"""The classes that a configuration can name: ours, read from the stubs, and those of torch and Lightning."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from recipes.config.files import REPOSITORY

PACKAGES = ("recipes", "modules", "datamodules", "callbacks")
LIBRARIES = (
    "torch.optim",
    "lightning.pytorch.callbacks",
    "lightning.pytorch.loggers",
    "lightning.pytorch.strategies",
    "lightning.pytorch.profilers",
)


@cache
def exported_classes() -> tuple[str, ...]:
    """Class paths of all public classes of this repository, such as `modules.encoder.MosaicBert`; imports nothing."""
    stubs = (stub for package in PACKAGES for stub in sorted((REPOSITORY / package).rglob("__init__.pyi")))
    return tuple(dict.fromkeys(path for stub in stubs for path in _classes_of(stub)))


@cache
def library_classes() -> tuple[str, ...]:
    """Class paths of the optimizers, callbacks, loggers, strategies and profilers of torch and Lightning."""
    paths = []
    for name in LIBRARIES:
        module = importlib.import_module(name)
        public = getattr(module, "__all__", None) or dir(module)
        paths += [f"{name}.{entry}" for entry in public if isinstance(getattr(module, entry, None), type)]
    return tuple(paths)


def import_exported() -> list[type]:
    """Import all exported classes, so that help and schema know them; without those whose extra is not installed."""
    classes = []
    for path in exported_classes():
        module, name = path.rsplit(".", 1)
        try:
            classes.append(getattr(importlib.import_module(module), name))
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] in PACKAGES:
                raise
    return classes


def _classes_of(stub: Path) -> Iterator[str]:
    package = ".".join(stub.parent.relative_to(REPOSITORY).parts)
    for statement in ast.parse(stub.read_text()).body:
        if not isinstance(statement, ast.ImportFrom):
            continue
        names = [alias.name for alias in statement.names]
        if statement.module is None:  # `from . import encoder`: the public classes of a module that is no package
            for name in names:
                module = stub.parent / f"{name}.py"
                yield from (f"{package}.{name}.{found}" for found in _defined(module) if not found.startswith("_"))
        else:
            base = stub.parent.joinpath(*statement.module.split("."))
            defined = _defined(base.with_suffix(".py")) | _defined(base / "__init__.py")
            yield from (f"{package}.{name}" for name in names if name in defined)


@cache
def _defined(file: Path) -> frozenset[str]:
    """Names of the classes that stand at the top of a file; none where there is no such file."""
    body = ast.parse(file.read_text()).body if file.is_file() else []
    return frozenset(statement.name for statement in body if isinstance(statement, ast.ClassDef))

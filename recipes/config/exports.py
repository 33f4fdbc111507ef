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
    paths = dict.fromkeys(path for stub in stubs for path in _classes_of(stub))
    return tuple(path for path in paths if not _has_shorter(path, set(paths)))


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
    """Class paths that the stub of a package exports, those of its plain modules included."""
    package = ".".join(stub.parent.relative_to(REPOSITORY).parts)
    for statement in ast.parse(stub.read_text()).body:
        if not isinstance(statement, ast.ImportFrom):
            continue
        names = [alias.name for alias in statement.names]
        if statement.module is None:  # `from . import encoder`: the public classes of a module that is no package
            for name in names:
                yield from (f"{package}.{name}.{found}" for found in _defined(stub.parent / name) if found[0] != "_")
        else:
            defined = _defined(stub.parent.joinpath(*statement.module.split(".")))
            yield from (f"{package}.{name}" for name in names if name in defined)


@cache
def _defined(place: Path) -> tuple[str, ...]:
    """Names of the classes of a module (defined in it) or of a package (exported by it, `part.Name` by a part)."""
    stub, module = place / "__init__.pyi", place.with_suffix(".py")
    if stub.is_file():
        package = ".".join(place.relative_to(REPOSITORY).parts)
        return tuple(path.removeprefix(f"{package}.") for path in _classes_of(stub))
    body = ast.parse(module.read_text()).body if module.is_file() else []
    return tuple(statement.name for statement in body if isinstance(statement, ast.ClassDef))


def _has_shorter(path: str, paths: set[str]) -> bool:
    """Whether a package further up exports the same name."""
    parts = path.split(".")
    return any(".".join([*parts[:depth], parts[-1]]) in paths for depth in range(1, len(parts) - 1))

"""From a class path to the class, or to what a person should do."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
import sys
import tomllib
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from recipes.config.annotations import Slot
from recipes.config.exports import LIBRARIES, PACKAGES, exported_classes, library_classes
from recipes.config.files import REPOSITORY
from recipes.config.nearest import did_you_mean, nearest

ROOTS = (*PACKAGES, *{library.split(".")[0] for library in LIBRARIES})
"""Packages whose classes we can list."""

NEEDS = {"WandbLogger": ("wandb",), "MLFlowLogger": ("mlflow",), "TensorBoardLogger": ("tensorboard", "tensorboardX")}
"""Packages of which Lightning's loggers need one, and whose absence they tell only when they are built."""


class UnusableClassError(Exception):
    """A class path that does not lead to a usable class; the message says why and what to do."""


def resolve(path: str, slots: tuple[Slot, ...]) -> tuple[Any, int]:
    """Import what `path` names and see that it fits one of `slots`, if there are any.

    Returns:
        The class or function, and how many of its leading parameters the caller gives.

    Raises:
        UnusableClassError: There is none, it does not fit, or a package is missing.
    """
    found = _import(path, slots)
    packages = NEEDS.get(path.rsplit(".", 1)[-1], ())
    if packages and not any(map(find_spec, packages)):
        raise UnusableClassError(f"{path} needs the package {packages[0]}: {install_command(packages[0])}")
    if not slots:
        return found, 0
    for slot in slots:
        given = _fit(found, slot)
        if given is not None:
            return found, given
    wanted = " or ".join(base.__name__ for slot in slots for base in slot.bases) or "class or function to call"
    raise UnusableClassError(f"{path} is no {wanted}{_candidates(slots)}")


def install_command(package: str) -> str:
    """The command that installs a missing package: by its extra where it belongs to one."""
    extra = _extras().get(package.replace("_", "-"))
    return f'pip install -e ".[{extra}]"' if extra else f"pip install {package}"


def missing_package(error: ModuleNotFoundError) -> str:
    """What to say of an import that failed for a package that is not there."""
    package = (error.name or str(error)).split(".")[0]
    return f"needs the package {package}: {install_command(package)}"


def _import(path: str, slots: tuple[Slot, ...]) -> Any:
    parts = path.split(".")
    if len(parts) < 2:
        raise UnusableClassError(
            f"no such class (value {path!r}): write the full dotted name{_suggestion(path, slots)}"
        )
    try:
        found = importlib.import_module(parts[0])
        for depth, name in enumerate(parts[1:], start=2):
            if not hasattr(found, name) and inspect.ismodule(found):
                importlib.import_module(".".join(parts[:depth]))
            found = getattr(found, name)
    except ModuleNotFoundError as error:
        if error.name and not f"{path}.".startswith(f"{error.name}."):
            raise UnusableClassError(f"{path} {missing_package(error)}") from error
        raise UnusableClassError(f"no such class (value {path!r}){_way_out(path, slots)}") from error
    except AttributeError as error:
        raise UnusableClassError(f"no such class (value {path!r}){_way_out(path, slots)}") from error
    except Exception as error:
        raise UnusableClassError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    return found


def _fit(found: Any, slot: Slot) -> int | None:
    """How many leading parameters are given where `found` fills `slot`; None where it does not fit."""
    is_class = inspect.isclass(found)
    if slot.bases and is_class and _is_subclass(found, slot.bases):
        return slot.num_given or 0
    if slot.num_given is None or not callable(found):
        return None
    if is_class:  # its objects are what is called
        return 0 if any("__call__" in vars(base) for base in found.__mro__) else None
    return slot.num_given


def _is_subclass(found: type, bases: tuple[type, ...]) -> bool:
    if any(getattr(base, "_is_protocol", False) for base in bases):
        return True  # whether the members are there is for the parser to say
    return issubclass(found, bases)


def _way_out(path: str, slots: tuple[Slot, ...]) -> str:
    """End of a message: for a path below our packages a known class, for any other what is missing there."""
    package, name = path.split(".")[0], path.rsplit(".", 1)[-1]
    module = sys.modules.get(path.rsplit(".", 1)[0])
    if package in ROOTS or (module is None and nearest(package, ROOTS)):
        return _suggestion(path, slots)
    if module is None:
        return f": there is no module {path.rsplit('.', 1)[0]}, neither in {Path.cwd()} nor among installed packages"
    classes = [known for known, value in vars(module).items() if inspect.isclass(value)]
    return f": {module.__name__} has no {name}{did_you_mean(name, classes)}"


def _suggestion(path: str, slots: tuple[Slot, ...]) -> str:
    """End of a message: the known class with the nearest name, or those that would fit."""
    names = {known: known.rsplit(".", 1)[-1] for known in (*exported_classes(), *library_classes())}
    alike = set(difflib.get_close_matches(path.rsplit(".", 1)[-1], set(names.values()), n=5))
    match = difflib.get_close_matches(path, [known for known, name in names.items() if name in alike], n=1, cutoff=0.0)
    return f", did you mean {match[0]}?" if match else _candidates(slots)


def _candidates(slots: tuple[Slot, ...]) -> str:
    from torch import nn

    bases = tuple(base for slot in slots for base in slot.bases if base is not nn.Module)  # any network: no help
    fitting = [path for path in (*exported_classes(), *library_classes()) if _fits(path, bases)]
    return f"; there are {', '.join(fitting[:6])}" if fitting else ""


def _fits(path: str, bases: tuple[type, ...]) -> bool:
    module, name = path.rsplit(".", 1)
    try:
        found = getattr(importlib.import_module(module), name)
    except ImportError:
        return False
    return bool(bases) and inspect.isclass(found) and not inspect.isabstract(found) and issubclass(found, bases)


@cache
def _extras() -> dict[str, str]:
    """Extra of each optional package, from `pyproject.toml` (the package runs from its checkout)."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    required = {
        (re.split(r"[^\w-]", requirement)[0], extra)
        for extra, requirements in project["optional-dependencies"].items()
        for requirement in requirements
        if extra != "dev"
    }
    return dict(sorted(required))

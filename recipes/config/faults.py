"""Which exceptions of a run are mistakes of the user, to be told in one line, and where the mistake was written."""

from __future__ import annotations

import inspect
import sysconfig
from pathlib import Path
from traceback import walk_tb
from types import FrameType

from lightning.pytorch.utilities.exceptions import MisconfigurationException

from recipes.config.classes import UnusableClassError, missing_package, resolve
from recipes.config.exports import PACKAGES
from recipes.config.files import REPOSITORY
from recipes.config.problems import Problem
from recipes.config.tree import Node
from recipes.config.upstream import constructor_error

STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))


def fault(error: BaseException, tree: Node, *, building: bool, key: str = "") -> Problem | None:
    """The user's mistake behind an exception, or None where it is a defect that needs its traceback.

    A class of the configuration that refuses its arguments is a mistake, whenever it is built (optimizers are built in
    the run), and so is every ValueError and missing file that our own code raises: our own mistakes are assertions.

    Args:
        error: What was raised.
        tree: The configuration of the run, or a part of it.
        building: Whether classes were being built from the configuration; else the run was on its way.
        key: Dotted key of `tree`.
    """
    error = constructor_error(error)
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    configured = dict(_classes(tree, key))
    source, place = _place(frames, configured)
    for called in _called_wrongly(error, configured):
        return Problem(*configured[called], " ".join(str(error).split()))
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.split(".")[0] not in PACKAGES:
        return Problem(source, place, missing_package(error))
    told = isinstance(error, ValueError | OSError | ImportError | MisconfigurationException)
    if told and (building or _is_ours(frames) or _is_constructor(frames, configured)):
        return Problem(source, place, " ".join(str(error).split()))
    return None


def _called_wrongly(error: BaseException, configured: dict[type, tuple[str, str]]) -> list[type]:
    """The configured class whose constructor takes other arguments than it was given, if that is the error."""
    is_call = isinstance(error, TypeError)
    return [named for named in configured if is_call and str(error).startswith(f"{named.__qualname__}.__init__() ")]


def _is_ours(frames: list[FrameType]) -> bool:
    """Whether the innermost code, that of Python itself aside, is of this repository."""
    files = [Path(frame.f_code.co_filename) for frame in frames]
    foreign = [file for file in files if not file.is_relative_to(STANDARD_LIBRARY) or "site-packages" in file.parts]
    return any(foreign[-1].is_relative_to(REPOSITORY / package) for package in PACKAGES)


def _is_constructor(frames: list[FrameType], configured: dict[type, tuple[str, str]]) -> bool:
    """Whether an object of a configured class was being built."""
    return any(f.f_code.co_name == "__init__" and type(f.f_locals.get("self")) in configured for f in frames)


def _place(frames: list[FrameType], configured: dict[type, tuple[str, str]]) -> tuple[str, str]:
    """Source and key of the innermost configured class that was at work when the exception rose."""
    for frame in reversed(frames):
        place = configured.get(type(frame.f_locals.get("self")))
        if place is not None:
            return place
    return "", ""


def _classes(node: Node, key: str) -> list[tuple[type, tuple[str, str]]]:
    """All classes that a configuration names, with source and key."""
    found: list[tuple[type, tuple[str, str]]] = []
    if node.class_path is not None:
        try:
            named, _ = resolve(node.class_path, ())
        except UnusableClassError:
            named = None
        if inspect.isclass(named):
            found.append((named, (node.value["class_path"].source, key)))
    if node.is_mapping:
        children = [(f"{key}.{name}" if key else name, child) for name, child in node.value.items()]
    else:
        items = node.value if isinstance(node.value, list) else []
        children = [(f"{key}[{index}]", child) for index, child in enumerate(items)]
    return found + [entry for name, child in children for entry in _classes(child, name)]

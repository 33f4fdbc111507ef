"""What a parameter's annotation allows a configuration to write there."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections import abc
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

from recipes.config.upstream import accepts_value

PLAIN = (bool, int, float, str, bytes, complex, type(None), Path, timedelta, range)
"""Types that a YAML scalar stands for; every other class is a slot, filled by `class_path`."""
SEQUENCES = (list, tuple, set, abc.Sequence, abc.Iterable, abc.Collection, abc.MutableSequence, abc.Set)
MAPPINGS = (dict, abc.Mapping, abc.MutableMapping)


@dataclass(frozen=True)
class Slot:
    """A place that is filled by naming a class.

    An object of the class is wanted, or (`num_given` not None) something to call: `Callable[[A], B]` takes a class B
    without its first parameter, a class whose objects can be called, or a function.
    """

    bases: tuple[type, ...]
    """What the class must be a subclass of; empty for anything."""
    num_given: int | None = None
    """How many leading arguments the caller gives; None where an object is wanted."""


@dataclass(frozen=True)
class Allowed:
    """An annotation, taken apart."""

    annotation: Any
    plain: tuple[Any, ...] = ()
    """Members that a scalar stands for (None excluded)."""
    slots: tuple[Slot, ...] = ()
    """Members that a class fills."""
    items: Any = None
    """Annotation of the items where a list is allowed; None where not."""
    values: Any = None
    """Annotation of the values where a mapping is allowed; None where not."""
    group: type | None = None
    """The dataclass whose fields may be written."""
    optional: bool = False
    """Whether null is allowed."""

    @property
    def anything(self) -> bool:
        """Whether the parameter is untyped."""
        return self.annotation in (Any, inspect.Parameter.empty, object)

    def accepts(self, value: Any) -> bool:
        """Whether the parser takes this plain value."""
        return self.anything or accepts_value(self.annotation, value)

    def __str__(self) -> str:
        names = [_name(member) for member in self.plain]
        names += ["class_path of " + _slot_name(slot) for slot in self.slots]
        names += ["a list"] * (self.items is not None) + ["a mapping"] * (self.values is not None)
        names += [f"the fields of {self.group.__name__}"] if self.group else []
        return " or ".join(dict.fromkeys(names + ["null"] * self.optional)) or "another type"


def allowed(annotation: Any) -> Allowed:
    """Take `annotation` apart: unions, containers, callables, dataclasses."""
    parts: dict[str, Any] = {"plain": [], "slots": []}
    for member in _members(annotation):
        _sort(member, parts)
    return Allowed(annotation, **(parts | {"plain": tuple(parts["plain"]), "slots": tuple(parts["slots"])}))


def _members(annotation: Any) -> list[Any]:
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return [part for member in typing.get_args(annotation) for part in _members(member)]
    if origin is typing.Annotated:
        return _members(typing.get_args(annotation)[0])
    return [annotation]


def _sort(member: Any, parts: dict[str, Any]) -> None:
    origin, arguments = typing.get_origin(member) or member, typing.get_args(member)
    if member in (None, type(None)):
        parts["optional"] = True
    elif origin is abc.Callable:
        returned = _members(arguments[-1]) if arguments else []
        bases = tuple(part for part in returned if inspect.isclass(part) and part not in PLAIN)
        given = len(arguments[0]) if arguments and isinstance(arguments[0], list) else 0
        parts["slots"].append(Slot(bases, num_given=given))
    elif origin in SEQUENCES:
        parts["items"] = arguments[0] if arguments else Any
    elif origin in MAPPINGS:
        parts["values"] = arguments[1] if len(arguments) > 1 else Any
    elif not inspect.isclass(origin) or origin in PLAIN or issubclass(origin, Enum) or origin in (type, object, Any):
        parts["plain"].append(member)
    elif dataclasses.is_dataclass(origin):
        parts["group"] = origin
    else:
        parts["slots"].append(Slot((origin,)))


def _name(member: Any) -> str:
    if typing.get_origin(member) is typing.Literal:
        return " or ".join(repr(choice) for choice in typing.get_args(member))
    if inspect.isclass(member) and issubclass(member, Enum):
        return " or ".join(member.__members__)
    return getattr(member, "__name__", str(member))


def _slot_name(slot: Slot) -> str:
    bases = " or ".join(base.__name__ for base in slot.bases) or "something to call"
    return f"{bases} (called with {slot.num_given} more)" if slot.num_given and slot.bases else bases

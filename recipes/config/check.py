"""Walks a configuration beside the signatures that it fills and reports all that is wrong, not only the first."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from recipes.config.annotations import Allowed, Slot, allowed
from recipes.config.classes import UnusableClassError, resolve
from recipes.config.nearest import did_you_mean
from recipes.config.problems import Problem
from recipes.config.tree import CLASS_KEYS, Node
from recipes.config.upstream import parameters


class Parameter(Protocol):
    """What is looked at of a parameter."""

    name: str
    annotation: Any
    default: Any


def check_arguments(node: Node, known: Mapping[str, Parameter], *, key: str, owner: str) -> list[Problem]:
    """Check the arguments of a class, a function or the configuration itself.

    Args:
        node: A mapping from argument to value.
        known: The parameters, those excluded that the caller gives.
        key: Dotted key of `node`, empty for the whole configuration.
        owner: What the arguments belong to, for messages.

    Returns:
        All problems below `node`, in the order of the configuration.
    """
    problems = []
    for name, child in node.value.items():
        dotted = f"{key}.{name}" if key else name
        if name in known:
            problems += check_value(child, known[name].annotation, key=dotted)
        else:
            problems.append(Problem(child.source, dotted, _unknown(name, child, known, owner)))
    return problems + _missing(node, known, key, owner)


def check_value(node: Node, annotation: Any, *, key: str) -> list[Problem]:
    """Check one value, with all that stands below it, against the annotation of its parameter."""
    kind = allowed(annotation)
    if node.value is None:
        return [] if kind.optional or kind.anything else [_wrong_type(node, kind, key)]
    if node.is_mapping:
        return _check_mapping(node, kind, key)
    if isinstance(node.value, list):
        return _check_list(node, kind, key)
    return _check_scalar(node, kind, key)


def _check_mapping(node: Node, kind: Allowed, key: str) -> list[Problem]:
    if "class_path" in node.value and (kind.slots or kind.anything):
        return _check_class(node, kind.slots or (Slot((object,)),), key)
    if kind.group is not None:
        return check_arguments(node, parameters(kind.group), key=key, owner=kind.group.__name__)
    if kind.values is not None:
        pairs = node.value.items()
        return [problem for name, child in pairs for problem in check_value(child, kind.values, key=f"{key}.{name}")]
    if kind.slots and set(node.value) <= set(CLASS_KEYS):
        return [Problem(node.source, key, f"no class is named, expected {kind}")]
    return [] if kind.accepts(node.plain()) else [_wrong_type(node, kind, key)]


def _check_list(node: Node, kind: Allowed, key: str) -> list[Problem]:
    if kind.items is not None:
        indexed = enumerate(node.value)
        found = [problem for i, child in indexed for problem in check_value(child, kind.items, key=f"{key}[{i}]")]
        if found or allowed(kind.items).slots:
            return found
    return [] if kind.accepts(node.plain()) else [_wrong_type(node, kind, key)]


def _check_scalar(node: Node, kind: Allowed, key: str) -> list[Problem]:
    if kind.slots and _names_a_class(node, kind):
        return _check_class(Node({"class_path": Node(node.value, node.source)}, node.source), kind.slots, key)
    if not kind.accepts(node.value) and node.is_option and kind.accepts(node.text):
        node.value = node.text  # `--data.name=123` means the text where text is wanted
    return [] if kind.accepts(node.value) else [_wrong_type(node, kind, key)]


def _names_a_class(node: Node, kind: Allowed) -> bool:
    return isinstance(node.value, str) and str not in kind.plain and ("." in node.value or not kind.plain)


def _check_class(node: Node, slots: tuple[Slot, ...], key: str) -> list[Problem]:
    named = node.value["class_path"]
    if not isinstance(named.value, str):
        return [Problem(named.source, f"{key}.class_path", f"must be a dotted name (value {named.plain()!r})")]
    try:
        found, num_given = resolve(named.value, slots)
    except UnusableClassError as error:
        return [Problem(named.source, f"{key}.class_path", str(error))]
    problems = [
        Problem(
            child.source,
            f"{key}.{name}",
            f"unknown key beside class_path (value {shown(child)}): put it in init_args",
        )
        for name, child in node.value.items()
        if name not in CLASS_KEYS
    ]
    arguments = node.value.get("init_args") or Node({}, named.source)
    if not arguments.is_mapping:
        arguments = Node({}, named.source) if arguments.value is None else arguments
    if not arguments.is_mapping:
        return [*problems, Problem(arguments.source, f"{key}.init_args", "must be a mapping of arguments")]
    if not inspect.isclass(found) and not arguments.value:
        return problems  # a function named as it is
    known = dict(list(parameters(found).items())[num_given:])
    return problems + check_arguments(arguments, known, key=f"{key}.init_args", owner=named.value)


def _missing(node: Node, known: Mapping[str, Parameter], key: str, owner: str) -> list[Problem]:
    return [
        Problem(node.source, f"{key}.{name}" if key else name, f"missing: {owner} needs it ({allowed(p.annotation)})")
        for name, p in known.items()
        if p.default is inspect.Parameter.empty and name not in node.value
    ]


def _unknown(name: str, node: Node, known: Iterable[str], owner: str) -> str:
    names = list(known)
    hint = did_you_mean(name, names)
    if not hint:
        ranked = sorted(names, key=lambda other: -difflib.SequenceMatcher(None, name, other).ratio())[:8]
        hint = f"; {owner} knows {', '.join(ranked)}" if ranked else f"; {owner} takes no options"
    return f"unknown option (value {shown(node)}){hint}"


def _wrong_type(node: Node, kind: Allowed, key: str) -> Problem:
    return Problem(node.source, key, f"wrong type (value {shown(node)}), expected {kind}")


def shown(node: Node) -> str:
    """The value of a node as messages show it: numbers as they were typed, and short."""
    text = node.text if isinstance(node.value, int | float) and node.text is not None else repr(node.plain())
    return text if len(text) <= 60 else text[:57] + "..."

"""States defaults where the parser would otherwise carry values from one class into another."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from recipes.config.classes import UnusableClassError, resolve
from recipes.config.tree import Node
from recipes.config.upstream import parameters

PLAIN = (bool, int, float, str, list, tuple, type(None))


def settle(tree: Node) -> None:
    """Write out the defaults of each configured class that stands in the place of a class that a signature proposes.

    With `optimizer: OptimizerCallable = AdamW` in a signature and SGD in the configuration, the parser gives SGD the
    weight decay of AdamW's own default (Lightning #18072, by design); a stated value is left alone.
    """
    for node in _class_nodes(tree):
        owner = _parameters_of(node)
        for name, child in _arguments(node).items():
            proposed = owner[name].default if name in owner else None
            if child.class_path is not None and callable(proposed) and proposed is not inspect.Parameter.empty:
                _state_defaults(child)


def _state_defaults(node: Node) -> None:
    arguments = node.value.setdefault("init_args", Node({}, node.source))
    for name, parameter in _parameters_of(node).items():
        if name not in arguments.value and isinstance(parameter.default, PLAIN):
            default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
            arguments.value[name] = Node(default, node.source)


def _parameters_of(node: Node) -> dict[str, inspect.Parameter]:
    try:
        return parameters(resolve(node.class_path or "", ())[0])  # type: ignore[return-value]
    except UnusableClassError:
        return {}  # inside an untyped value: not ours to judge


def _arguments(node: Node) -> dict[str, Node]:
    arguments = node.value.get("init_args")
    return arguments.value if arguments is not None and arguments.is_mapping else {}


def _class_nodes(node: Node) -> Iterator[Node]:
    if node.class_path is not None:
        yield node
    if node.is_mapping:
        for child in node.value.values():
            yield from _class_nodes(child)
    elif isinstance(node.value, list):
        for child in node.value:
            yield from _class_nodes(child)

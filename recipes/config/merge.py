"""How one source of a configuration lies over another: flat, the last one wins."""

from __future__ import annotations

from dataclasses import replace

from recipes.config.swaps import Swap
from recipes.config.tree import CLASS_KEYS, Node

APPEND = "+"
"""A key that ends so appends to a list instead of replacing it: `callbacks+: [...]`."""


def overlay(below: Node | None, above: Node, *, key: str, swaps: list[Swap]) -> Node:
    """Lay `above` over `below`.

    Mappings merge key by key, everything else is replaced. A class that replaces another one starts from its own
    arguments alone: what was written for the old class is dropped and can be told. (The parser underneath would
    carry over every value whose name the new class happens to know: AdamW's weight decay into SGD.)

    Args:
        below: What was there; None for nothing.
        above: The later source.
        key: Where both stand.
        swaps: Receives each class that takes the place of another one.
    """
    if above.is_mapping and any(name.endswith(APPEND) for name in above.value):
        below = below if below is not None and below.is_mapping else Node({}, above.source)
    if below is None or below.value is None:
        return above
    below, above = _as_classes(below, above)
    if not (below.is_mapping and above.is_mapping):
        return above
    if above.class_path is not None and below.class_path is not None and above.class_path != below.class_path:
        swaps.append(Swap(key, below, above))
        return above
    merged = dict(below.value)
    for name, child in above.value.items():
        base = name.removesuffix(APPEND)
        dotted = f"{key}.{base}" if key else base
        if name.endswith(APPEND):
            merged[base] = _append(merged.get(base), child)
        else:
            merged[base] = overlay(merged.get(base), child, key=dotted, swaps=swaps)
    return replace(below, value=merged)


def at(tree: Node, dotted: str, value: Node) -> Node:
    """The tree that has `value` at `dotted` and nothing else, ready to lie over `tree`.

    `model.encoder.num_layers` is short for `model.init_args.encoder.init_args.num_layers` where `tree` names classes.
    """
    path: list[str] = []
    node: Node | None = tree
    keys = dotted.split(".")
    for name in keys:
        inside_class = node is not None and (node.class_path is not None or (path and isinstance(node.value, str)))
        if inside_class and name.removesuffix(APPEND) not in CLASS_KEYS:
            path.append("init_args")
            node = _child(node, "init_args")
        path.append(name)
        node = _child(node, name)
    for name in reversed(path):
        value = Node({name: value}, value.source)
    return value


def _child(node: Node | None, name: str) -> Node | None:
    return node.value.get(name) if node is not None and node.is_mapping else None


def _as_classes(below: Node, above: Node) -> tuple[Node, Node]:
    """Where one side names a class by a bare string and the other by a mapping, make both mappings."""
    if isinstance(above.value, str) and below.class_path is not None:
        above = Node({"class_path": above}, above.source)
    if isinstance(below.value, str) and above.is_mapping and set(above.value) <= set(CLASS_KEYS):
        below = Node({"class_path": below}, below.source)
    return below, above


def _append(below: Node | None, above: Node) -> Node:
    items = [] if below is None or below.value is None else below.value if isinstance(below.value, list) else [below]
    return Node([*items, *(above.value if isinstance(above.value, list) else [above])], above.source)

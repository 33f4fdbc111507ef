"""What a class leaves behind when another one takes its place, as far as a user should know."""

from __future__ import annotations

from dataclasses import dataclass

from recipes.config.classes import UnusableClassError, resolve
from recipes.config.tree import Node
from recipes.config.upstream import parameters


@dataclass(frozen=True)
class Swap:
    """A class in the place of another one, whose arguments are dropped.

    Attributes:
        key: Dotted key of the place.
        old: The class that was there, with its arguments.
        new: The class that is there now.
    """

    key: str
    old: Node
    new: Node

    def notice(self, tree: Node) -> str | None:
        """One line on the dropped arguments that the new class takes too and that nobody has stated anew.

        Args:
            tree: The whole configuration, all sources laid over each other.
        """
        stated = self._stated(tree)
        dropped = [(name, node) for name, node in _arguments(self.old) if name.partition(".")[0] not in stated]
        listed = ", ".join(f"{name}={node.plain()} ({node.source})" for name, node in dropped if self._takes(name))
        if not listed:
            return None
        new = self.new.class_path or ""
        return (
            f"{self.new.source}: {self.key}: {new} replaces {self.old.class_path}; not carried over: {listed}. "
            f"State what {new.rsplit('.', 1)[-1]} shall have of these."
        )

    def _stated(self, tree: Node) -> set[str]:
        node: Node | None = tree
        for name in (*self.key.split("."), "init_args"):
            node = node.value.get(name) if node is not None and node.is_mapping else None
        return set(node.value) if node is not None and node.is_mapping else set()

    def _takes(self, name: str) -> bool:
        try:
            return name.partition(".")[0] in parameters(resolve(self.new.class_path or "", ())[0])
        except UnusableClassError:
            return True  # the check will say so


def _arguments(node: Node) -> list[tuple[str, Node]]:
    arguments = node.value.get("init_args")
    return arguments.leaves() if arguments is not None and arguments.is_mapping else []

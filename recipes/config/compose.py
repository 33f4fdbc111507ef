"""From the words of a command line to one tree: `-c` files and overrides, from left to right."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from recipes.config.files import find_yaml
from recipes.config.merge import at, overlay
from recipes.config.problems import ConfigError, Problem
from recipes.config.swaps import Swap
from recipes.config.tree import COMMAND_LINE, Node, read_value, read_yaml

SECTIONS = ("trainer", "model", "data")
"""The top-level keys that may name another YAML file instead of holding values."""


@dataclass
class Composed:
    """What the sources of a configuration say together."""

    tree: Node = field(default_factory=lambda: Node({}, COMMAND_LINE))
    """All values with their sources."""
    files: list[Path] = field(default_factory=list)
    """The `-c` files, in order."""
    swaps: list[Swap] = field(default_factory=list)
    """The classes that took the place of others."""
    problems: list[Problem] = field(default_factory=list)
    """Faults of the sources themselves: files that are missing or no YAML, words that are no option."""

    complete: bool = True
    """Whether all files could be read; of an incomplete tree nobody can say what is missing."""

    def lay(self, above: Node) -> None:
        """Lay one more source over the tree."""
        self.tree = overlay(self.tree, above, key="", swaps=self.swaps)

    @property
    def notices(self) -> list[str]:
        """What the user should know: arguments of swapped classes that were dropped."""
        return list(filter(None, (swap.notice(self.tree) for swap in self.swaps)))


def compose(arguments: list[str]) -> Composed:
    """Read all sources of a configuration.

    Args:
        arguments: Words such as `-c FILE`, `--model.init_args.lr=1e-3`, `--trainer.max_steps 10`,
            `--trainer.callbacks+=CLASS`.
    """
    composed = Composed()
    words = list(arguments)
    while words:
        word = words.pop(0)
        option, equals, value = word.partition("=")
        if not option.startswith("-") or option.strip("-") == "":
            message = f"unexpected word {word!r}: options are written --key=value, files -c FILE"
            composed.problems.append(Problem(COMMAND_LINE, "", message))
        elif not equals and (not words or words[0].startswith("--")):
            composed.problems.append(Problem(COMMAND_LINE, option.lstrip("-"), "needs a value: write --key=value"))
        else:
            _apply(composed, option, value if equals else words.pop(0))
    return composed


def _apply(composed: Composed, option: str, value: str) -> None:
    try:
        if option in ("-c", "--config"):
            path = find_yaml(value)
            composed.files.append(path)
            composed.lay(_read_file(path, name=value))
        else:
            composed.lay(at(composed.tree, option.lstrip("-"), read_value(value)))
    except ConfigError as error:
        composed.problems.extend(error.problems)
        composed.complete = False


def _read_file(path: Path, *, name: str) -> Node:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(name, "", f"no UTF-8 text (byte {error.start}): save it as UTF-8")]) from error
    tree = read_yaml(text, name=name)
    if tree.value is None:
        return Node({}, tree.source)
    if not tree.is_mapping:
        message = f"must be a mapping with keys such as {', '.join(SECTIONS)}"
        raise ConfigError([Problem(tree.source, "", message)])
    for key in SECTIONS:
        node = tree.value.get(key)
        if node is not None and isinstance(node.value, str) and node.value.endswith((".yaml", ".yml")):
            tree.value[key] = _read_section(path.parent / node.value, key, node)
    return tree


def _read_section(path: Path, key: str, node: Node) -> Node:
    """The section that a file names by another file (relative to itself): that file's own section, or all of it."""
    if not path.is_file():
        raise ConfigError([Problem(node.source, key, f"no such file: {path}")])
    tree = _read_file(path, name=str(path))
    return tree.value[key] if set(tree.value) == {key} else tree

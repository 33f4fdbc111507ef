"""A configuration as a tree that remembers where each of its values was written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from recipes.config.problems import ConfigError, Problem

CLASS_KEYS = ("class_path", "init_args", "dict_kwargs")
"""The keys of a mapping that names a class and its arguments."""

COMMAND_LINE = "command line"
"""The source of what is in no file."""


@dataclass(slots=True)
class Node:
    """A value and where it was written."""

    value: Any
    """A plain scalar, a list of nodes, or a dict from key to node."""
    source: str
    """`FILE:LINE`, or `command line`."""
    text: str | None = None
    """A scalar as it was typed; of the command line every value."""

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.value, dict)

    @property
    def class_path(self) -> str | None:
        """The class that this node names, if it names one by `class_path`."""
        named = self.value.get("class_path") if self.is_mapping else None
        return named.value if named is not None and isinstance(named.value, str) else None

    @property
    def is_option(self) -> bool:
        """Whether this was a word of the command line, where text needs no quotes."""
        return self.source == COMMAND_LINE and self.text is not None

    def plain(self) -> Any:
        """The value without its sources."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def leaves(self, prefix: str = "") -> list[tuple[str, Node]]:
        """All values that are not mappings, with their dotted keys."""
        if not self.is_mapping:
            return [(prefix, self)]
        dotted = ((f"{prefix}.{key}" if prefix else key, child) for key, child in self.value.items())
        return [leaf for key, child in dotted for leaf in child.leaves(key)]


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as everyone writes it: `1e-3` is a number, and a day is no type of its own."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_yaml(text: str, *, name: str) -> Node:
    """Parse the YAML of a file.

    Args:
        text: Its content.
        name: What to call it in messages, usually its path.

    Raises:
        ConfigError: It is not YAML, or says one key twice; all double keys are reported.
    """
    problems: list[Problem] = []
    try:
        loader = _Loader(text)  # refuses characters that YAML does not have
        root = loader.get_single_node()
        node = _build(loader, root, lambda mark: f"{name}:{mark.line + 1}", f"{name}:1", problems)
    except yaml.YAMLError as error:
        raise ConfigError([_syntax_problem(error, name)]) from error
    if problems:
        raise ConfigError(problems)
    return node


def read_value(text: str) -> Node:
    """Parse one value of the command line: YAML where it is YAML, the text itself otherwise."""
    try:
        loader = _Loader(text)
        node = _build(loader, loader.get_single_node(), lambda mark: COMMAND_LINE, COMMAND_LINE, [])
    except yaml.YAMLError:
        node = Node(text, COMMAND_LINE)
    node.text = text
    return node


def _build(loader: _Loader, node: yaml.Node | None, locate: Any, source: str, problems: list[Problem]) -> Node:
    if isinstance(node, yaml.MappingNode):
        loader.flatten_mapping(node)  # resolves the merge key `<<`
        children: dict[str, Node] = {}
        for key_node, value_node in node.value:
            key, place = str(loader.construct_object(key_node)), locate(key_node.start_mark)
            if key in children:
                problems.append(Problem(place, key, f"given twice, first at {children[key].source}: remove one"))
            children[key] = _build(loader, value_node, locate, place, problems)
        return Node(children, source)
    if isinstance(node, yaml.SequenceNode):
        return Node([_build(loader, item, locate, locate(item.start_mark), problems) for item in node.value], source)
    if node is None:
        return Node(None, source)
    return Node(loader.construct_object(node), source, text=node.value)


def _syntax_problem(error: yaml.YAMLError, name: str) -> Problem:
    mark = getattr(error, "problem_mark", None)
    cause = getattr(error, "problem", None) or str(error).splitlines()[0]
    return Problem(f"{name}:{mark.line + 1}" if mark else name, "", f"not valid YAML: {cause}")

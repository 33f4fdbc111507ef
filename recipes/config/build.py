"""Builds single sections of a configuration, without the Trainer."""

from __future__ import annotations

from typing import Any

import lightning as L

from recipes.config.settle import settle
from recipes.config.told import told
from recipes.config.tree import Node
from recipes.config.upstream import Parser

BASES: dict[str, type[L.LightningModule] | type[L.LightningDataModule]] = {
    "model": L.LightningModule,
    "data": L.LightningDataModule,
}


def build(tree: Node, sections: tuple[str, ...]) -> dict[str, Any]:
    """Build the objects of `sections`, each of `model` and `data`; None for one that the configuration does not have.

    Raises:
        ConfigError: Classes refuse their arguments; all that do are reported.
    """
    parser = Parser()
    for name in sections:
        parser.add_lightning_class_args(BASES[name], name, subclass_mode=True, required=False)
    settle(tree)
    values = {name: tree.value[name].plain() for name in sections if name in tree.value}
    config = parser.parse_object(values)
    with told(Node({name: tree.value[name] for name in values}, tree.source), building=True):
        built = parser.instantiate_classes(config)
    return {name: built.get(name) for name in sections}

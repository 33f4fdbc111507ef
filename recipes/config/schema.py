"""The JSON Schema of a configuration."""

from __future__ import annotations

import json
from typing import Any

import lightning as L

from recipes.config.compose import SECTIONS
from recipes.config.exports import import_exported
from recipes.config.merge import APPEND
from recipes.config.upstream import ConfigSchema, Parser

YAML_NAME = {"type": "string", "pattern": r"\.ya?ml$"}
"""A section may be kept in another file."""


def schema_text() -> str:
    """JSON Schema (draft 2020-12) of the flat YAML that every subcommand takes; all exported classes are in it.

    Nothing is required of a file, because overlays complete each other.
    """
    import_exported()  # only imported classes appear
    schema = ConfigSchema().generate(_parser())
    sections = _without_required(schema)["properties"]
    trainer = sections["trainer"]["properties"]
    trainer |= {name + APPEND: trainer[name] for name in ("callbacks", "logger", "plugins")}
    sections |= {name: {"anyOf": [sections[name], YAML_NAME]} for name in SECTIONS}
    return json.dumps(schema, indent=1) + "\n"


def _without_required(schema: Any) -> Any:
    """The schema without any list of required keys, taken out in place."""
    if isinstance(schema, dict):
        if isinstance(schema.get("required"), list):
            del schema["required"]
        for child in schema.values():
            _without_required(child)
    elif isinstance(schema, list):
        for child in schema:
            _without_required(child)
    return schema


def _parser() -> Parser:
    parser = Parser()
    parser.add_argument("--seed_everything", type=int)
    parser.add_lightning_class_args(L.Trainer, "trainer")
    parser.add_lightning_class_args(L.LightningModule, "model", subclass_mode=True, required=False)
    parser.add_lightning_class_args(L.LightningDataModule, "data", subclass_mode=True, required=False)
    parser.add_argument("--ckpt_path", type=str | None, help="Checkpoint to go on from.")
    return parser

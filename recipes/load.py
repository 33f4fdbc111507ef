"""From Python the same thing as from the command line: `from recipes import load`."""

from __future__ import annotations

import sys
from pathlib import Path

import lightning as L

from recipes.config.build import build
from recipes.config.compose import compose
from recipes.config.problems import ConfigError
from recipes.config.run_check import check_load


def load(
    config: str | Path | list[str | Path], *overrides: str
) -> tuple[L.LightningModule, L.LightningDataModule | None]:
    """Build the model and the data of a recipe, without a Trainer and without touching any data.

        model, data = load("yaml/mosaicbert/base.yaml", "--model.encoder.init_args.num_layers=4")

    Args:
        config: A YAML file, or several that are composed as on the command line: flat, the last value wins. Relative
            paths start at the working directory, else at the repository.
        *overrides: Options as on the command line.

    Returns:
        The `model` and the `data` of the configuration; data is None where it has none.

    Raises:
        ConfigError: The configuration is faulty, in whichever section, or has no model; the message has one line for
            each fault. What this machine lacks (devices, files) is no fault here.
    """
    files = config if isinstance(config, list) else [config]
    composed = compose([word for file in files for word in ("-c", str(file))] + list(overrides))
    problems = composed.problems + (check_load(composed.tree) if composed.complete else [])
    if problems:
        raise ConfigError(problems)
    for notice in composed.notices:
        print(notice, file=sys.stderr)
    parts = build(composed.tree, ("model", "data"))
    return parts["model"], parts["data"]

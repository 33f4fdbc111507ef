"""Go on with a run exactly where it stopped: galley resume RUN_FOLDER [--force] [-- overrides]."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from recipes.config.problems import ConfigError, Problem
from recipes.run.changes import Change, changes, refusals
from recipes.run.folder import newest_checkpoint


def main(argv: list[str]) -> int:
    """Resume the run in the folder named first; what follows `--` overrides its configuration.

    Weights, optimizer, data position, random state and counters come from the newest checkpoint; the same folder grows.
    Of the configuration, some values may change and are noted in `resumes.jsonl` (length, devices, workers, paths,
    logging), some may not (shapes, seed, data); the rest needs `--force`.
    """
    arguments = _parse(argv)
    folder: Path = arguments.run_folder
    try:
        checkpoint = newest_checkpoint(folder)
        config_file = folder / "config.yaml"
        if not config_file.exists():
            raise FileNotFoundError(f"{config_file}: missing; without it nothing says what the run was")
    except (FileNotFoundError, ValueError) as error:
        raise ConfigError([Problem("", "", str(error))]) from error
    return _resume(config_file, checkpoint, arguments.overrides, force=arguments.force)


def _parse(argv: list[str]) -> argparse.Namespace:
    argv, overrides = (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    parser = argparse.ArgumentParser(prog="galley resume", description=__doc__)
    parser.add_argument("run_folder", type=Path, help="a folder below runs/, made by galley fit")
    parser.add_argument("--force", action="store_true", help="go on although a value changed that changes the result")
    arguments, others = parser.parse_known_args(argv)
    if others:
        message = (
            f"what changes the configuration follows --: galley resume {arguments.run_folder} -- {' '.join(others)}"
        )
        raise ConfigError([Problem("command line", others[0].partition("=")[0], message)])
    arguments.overrides = overrides
    return arguments


def _resume(config_file: Path, checkpoint: Path, overrides: list[str], *, force: bool) -> int:
    import yaml
    from lightning.pytorch.utilities import rank_zero_only

    from recipes.cli import run_cli
    from recipes.run.checkpoint_io import read_header

    step = read_header(checkpoint)["global_step"]
    old = yaml.safe_load(config_file.read_text())

    def check(new: dict[str, Any]) -> list[str]:
        found = changes(old, new)
        refused = refusals(found, force=force) + _already_beyond(step, new)
        if not refused:
            rank_zero_only(_note)(config_file.parent, checkpoint, found)
        return refused

    run_cli(
        ["fit", "-c", str(config_file), *overrides],
        run_folder=config_file.parent,
        ckpt_path=str(checkpoint),
        check_config=check,
    )
    return 0


def _already_beyond(step: int, new: dict[str, Any]) -> list[str]:
    max_steps = new["trainer"]["max_steps"]
    if max_steps == -1 or step <= max_steps:
        return []
    return [f"trainer.max_steps: {max_steps} is behind the run, which has done {step} steps: ask for more"]


def _note(folder: Path, checkpoint: Path, found: list[Change]) -> None:
    """Append one line to `resumes.jsonl`: when, from what, with which changes."""
    record = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "checkpoint": checkpoint.name,
        "changes": {change.key: [change.old, change.new] for change in found},
    }
    with (folder / "resumes.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")

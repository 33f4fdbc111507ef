"""Where a run lives: `runs/<recipe>/<date-time-id>/`."""

from __future__ import annotations

import secrets
from datetime import datetime
from pathlib import Path

RUNS = Path("runs")


def new_run_folder(recipe: str, runs: Path = RUNS) -> Path:
    """Make a folder that no other run has, below `runs/<recipe>/`.

    Args:
        recipe: Name of the recipe, such as `mosaicbert/tiny`; its slashes become folders.
        runs: Where all runs live.
    """
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    folder = runs / recipe / f"{stamp}-{secrets.token_hex(2)}"
    folder.mkdir(parents=True)
    return folder


def recipe_name(config_files: list[Path], repository: Path, runs: Path = RUNS) -> str:
    """The name of a run's recipe.

    The path of its first YAML below `yaml/`, the recipe of the earlier run whose `config.yaml` it is, or the bare name
    of a file elsewhere.
    """
    if not config_files:
        return "unnamed"
    first = config_files[0].resolve()
    if (home := repository / "yaml") in first.parents:
        return first.relative_to(home).with_suffix("").as_posix()
    if first.name == "config.yaml" and runs.resolve() in first.parents[2:]:
        return first.parents[1].relative_to(runs.resolve()).as_posix()
    return first.stem


def newest_checkpoint(folder: Path) -> Path:
    """The checkpoint to go on from: that of the latest step, the one written last among equals.

    Times alone would not do: copying a folder gives them anew.

    Raises:
        FileNotFoundError: The folder or a checkpoint in it is missing.
        ValueError: A checkpoint is damaged; going on from another one is for the user to decide.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such run folder")
    checkpoints = [path for path in (folder / "checkpoints").glob("*.ckpt") if not path.name.startswith(".")]
    if not checkpoints:
        raise FileNotFoundError(
            f"{folder / 'checkpoints'}: no checkpoint to go on from "
            "(the run ended before its first one: start it anew with galley fit)"
        )
    steps, damaged = _steps(checkpoints)
    newest = max(steps, key=lambda path: (steps[path], path.stat().st_mtime), default=None)
    if damaged:
        way_out = f"delete it to go on from {newest.name} (step {steps[newest]})" if newest else "no other is there"
        raise ValueError("; ".join([*damaged.values(), way_out]))
    assert newest is not None
    return newest


def _steps(checkpoints: list[Path]) -> tuple[dict[Path, int], dict[Path, str]]:
    """The step of each checkpoint, and of those that cannot be read why not."""
    from recipes.run.checkpoint_io import read_header

    steps: dict[Path, int] = {}
    damaged: dict[Path, str] = {}
    for path in checkpoints:
        try:
            steps[path] = read_header(path)["global_step"]
        except ValueError as error:
            damaged[path] = str(error)
    return steps, damaged

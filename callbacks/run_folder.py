"""The folder of a run: every rank learns of it, and it explains itself (config, command, environment)."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import lightning as L

from callbacks.environment import environment_record
from callbacks.files import written_whole


class RunFolder(L.Callback):
    """Hands the run's folder to all ranks and writes down what is needed to understand and repeat the run.

    The command line adds it to every run. `config.yaml` is the resolved configuration, `command.txt` has one line for
    each launch (the first and every resume), `environment.json` is the code, the libraries and the machine of the last
    launch.

    Args:
        path: The folder, known to the process of rank 0; the others receive it through the strategy.
        config: The resolved configuration as YAML.
    """

    def __init__(self, path: Path, *, config: str) -> None:
        self.path = path
        self.config = config

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self.path = Path(trainer.strategy.broadcast(str(self.path)))
        if trainer.is_global_zero:
            self._explain(digest=getattr(getattr(trainer, "datamodule", None), "digest", None))

    def _explain(self, digest: str | None) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        with written_whole(self.path / "config.yaml") as path:
            path.write_text(self.config)
        with (self.path / "command.txt").open("a") as file:
            file.write(shlex.join(sys.argv) + "\n")
        with written_whole(self.path / "environment.json") as path:
            path.write_text(json.dumps(environment_record() | {"data_digest": digest}, indent=2) + "\n")


def run_folder(trainer: L.Trainer) -> Path:
    """The folder that this run writes to: that of its `RunFolder`, or the root of a Trainer built without one."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, RunFolder):
            return callback.path
    return Path(trainer.default_root_dir)

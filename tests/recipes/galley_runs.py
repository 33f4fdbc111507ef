"""Helpers of the command line's tests: a small configuration, and running a command in this process."""

from __future__ import annotations

import os
from difflib import unified_diff
from pathlib import Path

import pytest
import yaml

from recipes.__main__ import main

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
WRITE_GOLDEN = "GALLEY_WRITE_GOLDEN"

TINY = """\
seed_everything: 1
trainer:
  accelerator: cpu
  devices: 1
  max_steps: 4
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
  enable_checkpointing: false
model:
  class_path: cli_parts.TinyModel
  init_args:
    net:
      class_path: cli_parts.DeepNet
      init_args: {dim: 4, num_layers: 2}
    optimizer:
      class_path: torch.optim.AdamW
      init_args:
        lr: 1e-3
        weight_decay: 0.1
data:
  class_path: cli_parts.TinyData
"""


def write(name: str, text: str) -> str:
    """Write a YAML file into the working directory and give its name back."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text)
    return name


def galley(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, list[str]]:
    """Exit code, standard output and the lines of standard error (without the notice of the seed) of one command."""
    capsys.readouterr()
    code = main(list(words))
    out, err = capsys.readouterr()
    return code, out, [line for line in err.splitlines() if not line.startswith(("Seed set", "[rank"))]


def assert_golden(name: str, text: str) -> None:
    """Compare with a file of `tests/golden/`, or write it where GALLEY_WRITE_GOLDEN is set."""
    path = GOLDEN / name
    if WRITE_GOLDEN in os.environ:
        path.write_text(text)
    assert path.exists(), f"no {path}: run the test with {WRITE_GOLDEN}=1 and look at the difference"
    wanted = path.read_text()
    # 8 and 8.0 are one value: which of them a union of int and float gives depends on what was imported first
    same = text == wanted or (path.suffix == ".yaml" and yaml.safe_load(text) == yaml.safe_load(wanted))
    difference = list(unified_diff(wanted.splitlines(), text.splitlines(), "golden", "now", n=0, lineterm=""))
    assert same, f"{path} differs (write it with {WRITE_GOLDEN}=1 if that is meant): {difference}"

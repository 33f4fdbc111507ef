"""Every `galley` command of the README runs as written, shrunk by the family's `_tiny.yaml` where it would train."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from recipes.__main__ import main

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text()
COMMANDS = re.findall(r"^ {4}(galley .+?)(?: +#.*)?$", README, flags=re.MULTILINE)
PYTHON = re.findall(r"```python\n(.+?)```", README, flags=re.DOTALL)
TRAINING = ("fit", "validate", "test", "predict")
SHRINK = ["-c", "yaml/mosaicbert/_tiny.yaml", "--trainer.devices=1", "--trainer.strategy=auto"]


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a finished run of the demo recipe, as `<run>` stands for in the README."""
    monkeypatch.chdir(home)
    runs = home / "runs" / "mosaicbert" / "tiny"
    if not runs.exists():
        assert main(["fit", "-c", "yaml/mosaicbert/tiny.yaml", *SHRINK]) == 0
    return min(runs.iterdir()).name


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command: str, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(command.replace("<run>", run))[1:]
    if words[0] in TRAINING:
        overlays, options = words, []
        first = next((place for place, word in enumerate(words) if word.startswith("--")), len(words))
        overlays, options = words[:first], words[first:]
        kept = [option for option in options if not option.startswith("--trainer.devices")]
        words = [*overlays, *SHRINK, *kept]
        if any(option.startswith("--data.corpus") for option in options):
            words.append("--data.validation=16")
    if words[0] == "resume":
        words += ["--", "--trainer.max_steps=3"]
    monkeypatch.setattr("sys.argv", ["galley", *words])
    assert main(words) == 0


@pytest.mark.parametrize("block", PYTHON)
def test_python_block(block: str, run: str) -> None:
    names: dict[str, object] = {}
    exec(block, names)
    assert {"model", "data"} <= names.keys()


def test_the_readme_has_commands() -> None:
    assert len(COMMANDS) >= 8
    assert len(PYTHON) == 1


def test_its_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert targets
    assert [target for target in targets if not (REPOSITORY / target).exists()] == []

"""Every `galley` command of README and few-shot pages runs as written, shrunk by `_tiny.yaml` where it would train."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from recipes.__main__ import main

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text()
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("**/*.md"))]
WITH_COMMANDS = ("README.md", "few_shot.md", "few_shot_tasks.md")
COMMANDS = list(
    dict.fromkeys(
        command
        for page in PAGES
        if page.name in WITH_COMMANDS
        for command in re.findall(r"^ {4}(galley .+?)(?: +#.*)?$", page.read_text(), flags=re.MULTILINE)
    )
)
OWN_PARTS = re.findall(
    r"`my_parts.py`:\n\n```python\n(.+?)```", (REPOSITORY / "docs/few_shot.md").read_text(), re.DOTALL
)
PYTHON = re.findall(r"```python\n(.+?)```", README, flags=re.DOTALL)
TRAINING = ("fit", "validate", "test", "predict")
RUN = re.compile(r"runs/(\w+)/(\w+)/<((?:other )?run)>")
"""A finished run of a recipe, or another one of the same recipe."""


def shrink(family: str) -> list[str]:
    return ["-c", f"yaml/{family}/_tiny.yaml", "--trainer.devices=1", "--trainer.strategy=auto"]


def finished_run(home: Path, family: str, recipe: str, which: str) -> str:
    """Folder of a run of two steps, made if it is not there."""
    place = ["run", "other run"].index(which)
    while True:
        trained = sorted((home / "runs" / family / recipe).glob("*/checkpoints"))
        if len(trained) > place:
            return str(trained[place].parent.relative_to(home))
        assert main(["fit", "-c", f"yaml/{family}/{recipe}.yaml", *shrink(family)]) == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    words = shlex.split(RUN.sub(lambda match: finished_run(home, *match.groups()), command))[1:]
    if words[0] in TRAINING:
        first = next((place for place, word in enumerate(words) if word.startswith("--")), len(words))
        overlays, options = words[:first], words[first:]
        kept = [option for option in options if not option.startswith("--trainer.devices")]
        words = [*overlays, *shrink(words[2].split("/")[1]), *kept]
        if any(option.startswith("--data.corpus") for option in options):
            words.append("--data.validation=16")
    if words[0] == "resume":
        words += ["--", "--trainer.max_steps=3"]
    (home / "my_parts.py").write_text(OWN_PARTS[0])
    monkeypatch.setattr("sys.argv", ["galley", *words])
    assert main(words) == 0


@pytest.mark.parametrize("block", PYTHON)
def test_python_block(block: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    names: dict[str, object] = {}
    exec(block, names)
    assert {"model", "data"} <= names.keys()


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 12
    assert len(PYTHON) == 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []

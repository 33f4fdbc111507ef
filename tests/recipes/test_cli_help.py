"""The top of the command line: help at once, nothing heavy imported, known options."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from galley_runs import assert_golden, galley
from lightning.pytorch.cli import LightningArgumentParser

from recipes.cli import GalleyCLI
from recipes.config.files import REPOSITORY, overlays, runnable_yamls

HEAVY = ("torch", "lightning", "jsonargparse", "transformers", "numpy")
Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("words", [["--help"], ["list"], [], ["nonsense"]], ids=str)
def test_help_and_list_import_nothing_heavy(words: list[str]) -> None:
    run = f"import sys; from recipes.__main__ import main; main({words!r})"
    check = f"{run}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_packages_import_nothing_heavy() -> None:
    check = f"import sys, recipes, modules, datamodules, callbacks; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_help_names_every_command(capsys: Capture) -> None:
    code, out, _ = galley(capsys, "--help")
    assert code == 0
    for path in (REPOSITORY / "recipes" / "commands").glob("[a-z]*.py"):
        (line,) = (line for line in out.splitlines() if line.split()[:1] == [path.stem.replace("_", "-")])
        assert len(line.split()) > 3, f"{path} has no summary"


def test_an_unknown_command_is_one_line(capsys: Capture) -> None:
    assert galley(capsys, "fitt") == (2, "", ["command line: no such command 'fitt', did you mean fit?"])


def test_list_shows_every_yaml(capsys: Capture) -> None:
    code, out, _ = galley(capsys, "list")
    assert code == 0
    lines = {line.split()[0]: line.split() for line in out.splitlines() if line.startswith("  ")}
    assert set(lines) == {path.relative_to(REPOSITORY).as_posix() for path in [*runnable_yamls(), *overlays()]}
    assert all(len(words) > 3 for words in lines.values()), "a YAML has no `# What:`"


def test_help_of_a_class_knows_ours(capsys: Capture) -> None:
    code, out, _ = galley(capsys, "fit", "--model.help=cli_parts.TinyModel")
    assert code == 0
    assert "--model.stop {true,false}" in out
    code, out, _ = galley(capsys, "fit", "--help")
    assert code == 0
    words = "".join(out.split())
    for name in ("recipes.MaskedLM", "datamodules.MaskedLMData", "callbacks.Meter"):
        assert name in words


def test_options_are_frozen(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """A new option is one line in the difference of tests/golden/options.txt."""
    seen: dict[str, LightningArgumentParser] = {}
    original = GalleyCLI._prepare_subcommand_parser

    def prepare(cli: GalleyCLI, klass: type, subcommand: str, **kwargs: Any) -> Any:
        return seen.setdefault(subcommand, original(cli, klass, subcommand, **kwargs))

    monkeypatch.setattr(GalleyCLI, "_prepare_subcommand_parser", prepare)
    galley(capsys, "fit", "--help")
    lines = [
        f"{name} {option}"
        for name, parser in seen.items()
        for action in parser._actions
        for option in action.option_strings
        if option.startswith("--") and (name == "fit" or not option.startswith("--trainer"))
    ]
    assert_golden("options.txt", "\n".join(sorted(lines)) + "\n")


def test_broken_pipes_are_no_error() -> None:
    command = f"{sys.executable} -m recipes list | head -1"
    done = subprocess.run(command, shell=True, cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.stderr, done.stdout) == ("", "recipes (galley fit -c FILE):\n")
    assert Path(REPOSITORY, "recipes").is_dir()

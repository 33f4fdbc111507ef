"""The command line of Galley: `galley COMMAND ...`, the same as `python -m recipes COMMAND ...`.

Nothing heavy is imported here, so that help is instant.
"""

from __future__ import annotations

import ast
import importlib
import os
import sys
from pathlib import Path

from recipes.config.debugging import DEBUG_VARIABLE
from recipes.config.nearest import did_you_mean
from recipes.config.problems import ConfigError, Problem

RUNS = {
    "fit": "Train a recipe.",
    "validate": "Evaluate a recipe on its validation data.",
    "test": "Evaluate a recipe on its test data.",
    "predict": "Write the predictions of a recipe.",
}
"""Commands that run the Trainer, with their summaries."""
COMMANDS = Path(__file__).parent / "commands"

EPILOG = """\
Configurations are composed from left to right; files are flat, the last value wins:
  galley fit -c yaml/mosaicbert/tiny.yaml
  galley fit -c yaml/mosaicbert/base.yaml -c yaml/_trainer/gpu.yaml --trainer.max_steps=1000
More: `galley list`, `galley COMMAND --help`, `galley fit --model.help=recipes.MaskedLM`; `--debug` shows tracebacks.
"""


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The words after the program's name; those of this process by default.

    Returns:
        Exit code: 0 done, 2 for a mistake of the user, 130 after Ctrl-C, 143 after SIGTERM.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a user's own classes; the last, so that none of ours is hidden
    if "--debug" in words:
        words.remove("--debug")
        os.environ[DEBUG_VARIABLE] = "1"
    try:
        return _run(words)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except SystemExit as stop:
        interrupted = isinstance(stop.__context__, KeyboardInterrupt)  # how the Trainer ends on Ctrl-C
        return 130 if interrupted else stop.code if isinstance(stop.code, int) else 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `galley list | head` has seen enough
        return 0


def _run(words: list[str]) -> int:
    command, arguments = (words[0], words[1:]) if words else ("--help", [])
    if command in ("-h", "--help", "help"):
        print(_help())
        return 0
    if command in RUNS:
        from recipes.cli import run_cli

        run_cli(words)
        return 0
    if command not in _command_files():
        hint = did_you_mean(command, [*RUNS, *_command_files()]) or "; see galley --help"
        raise ConfigError([Problem("command line", "", f"no such command {command!r}{hint}")])
    module = importlib.import_module(f"recipes.commands.{command.replace('-', '_')}")
    return int(module.main(arguments))


def _command_files() -> dict[str, Path]:
    """The thin files of `commands/` by the name of their command."""
    files = sorted(path for path in COMMANDS.glob("*.py") if not path.name.startswith("_"))
    return {path.stem.replace("_", "-"): path for path in files}


def _help() -> str:
    summaries = RUNS | {name: _summary(path) for name, path in _command_files().items()}
    width = max(map(len, summaries))
    table = "\n".join(f"  {name:<{width}}  {summary}" for name, summary in summaries.items())
    title = "usage: galley COMMAND [options]\n\nPaper recipes for PyTorch Lightning."
    return f"{title}\n\ncommands:\n{table}\n\n{EPILOG}".rstrip()


def _summary(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    return docstring.split("\n", 1)[0]


if __name__ == "__main__":
    sys.exit(main())

"""What the planning commands share: one line for every mistake, values that start with a minus."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from typing import NoReturn

EXIT_MISTAKE = 2


class OneLineParser(argparse.ArgumentParser):
    """Raises `ValueError` instead of printing the usage and leaving."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see {self.prog} --help)")


def parse(parser: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    """Parses, taking `--demand -1e9` as a value: argparse sees an option there and would hide what is really wrong."""
    joined: list[str] = []
    for word in argv:
        if joined and re.match(r"-[\d.]", word) and re.fullmatch(r"--[a-z-]+", joined[-1]):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return parser.parse_args(joined)


def run(prog: str, command: Callable[[list[str]], None], argv: list[str]) -> int:
    """Runs a command; a mistake of the user becomes one line on stderr.

    Returns:
        The exit code: 0, or 2 after a mistake.
    """
    try:
        command(argv)
    except BrokenPipeError:  # the reader has seen enough; the caller knows what to do
        raise
    except FloatingPointError as mistake:
        print(f"{prog}: a number is too large or too small to calculate with ({mistake})", file=sys.stderr)
        return EXIT_MISTAKE
    except (ValueError, OSError) as mistake:
        print(f"{prog}: {mistake}", file=sys.stderr)
        return EXIT_MISTAKE
    except SystemExit as leaving:  # --help
        return int(leaving.code or 0)
    return 0

"""List the recipes, from the headers of their YAML files."""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap

from recipes.config.files import REPOSITORY, header, overlays, runnable_yamls


def main(argv: list[str]) -> int:
    """Print one line a recipe, then the overlays; no wrapping where the output is no terminal."""
    argparse.ArgumentParser(prog="galley list", description=__doc__).parse_args(argv)
    rows = [(path.relative_to(REPOSITORY).as_posix(), header(path).get("What", "")) for path in runnable_yamls()]
    laid = [(path.relative_to(REPOSITORY).as_posix(), header(path).get("What", "")) for path in overlays()]
    print("recipes (galley fit -c FILE):")
    _table(rows)
    print("\noverlays (add -c FILE; the last one wins):")
    _table(laid)
    return 0


def _table(rows: list[tuple[str, str]]) -> None:
    left = max((len(name) for name, _ in rows), default=0) + 4
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for name, what in rows:
        lines = textwrap.wrap(what, max(width - left, 20)) if width else [what]
        print(f"  {name:<{left - 2}}{lines[0] if lines else ''}".rstrip())
        for line in lines[1:]:
            print(" " * left + line)

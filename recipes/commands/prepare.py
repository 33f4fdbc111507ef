"""Prepare the data of a recipe ahead of its run: galley prepare -c yaml/... [--data...]."""

from __future__ import annotations

import sys
import time


def main(argv: list[str]) -> int:
    """Build only `data` of a configuration and call its `prepare_data()`; a second call has nothing left to do."""
    if not argv or "-h" in argv or "--help" in argv:
        print(f"usage: galley prepare -c YAML [-c OVERLAY] [--data.KEY=VALUE]\n\n{__doc__}")
        return 0 if argv else 2
    from recipes.config.build import build
    from recipes.config.compose import compose
    from recipes.config.problems import ConfigError, Problem
    from recipes.config.run_check import check_parts
    from recipes.config.told import told
    from recipes.config.upstream import silence_tips
    from recipes.run.announce import announce_choices

    silence_tips()
    announce_choices()
    composed = compose(argv)
    problems = list(composed.problems)
    if composed.complete:
        problems += check_parts(composed.tree, ("data",))
    if problems:
        raise ConfigError(problems)
    for notice in composed.notices:
        print(notice, file=sys.stderr)
    data = build(composed.tree, ("data",))["data"]
    if data is None:
        raise ConfigError([Problem("", "data", "missing: there is nothing to prepare")])
    started_s = time.monotonic()
    with told(composed.tree, building=False):
        data.prepare_data()
    print(f"prepared in {time.monotonic() - started_s:.1f} s")
    return 0

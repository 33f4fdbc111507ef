"""Plan a model for its lifetime: size and training tokens for a quality and a demand, and what they cost."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from callbacks.files import written_whole
from modules.scaling import make_plan, plan_table
from recipes.commands._arguments import parse, run
from recipes.commands._plan_options import as_typed, build_parser, option_of
from recipes.commands._plan_question import read_question


def main(argv: list[str]) -> int:
    """Answers one question; see `galley plan --help`.

    Returns:
        Exit code: 0, or 2 after a mistake that one line on stderr explains.
    """
    return run("galley plan", _plan, argv)


def _plan(argv: list[str]) -> None:
    args = parse(build_parser(__doc__), argv)
    if args.figures is not None:
        _draw_figures(args)
        return
    try:
        with np.errstate(over="raise", divide="raise", invalid="raise"):
            question = read_question(args)
            plan = make_plan(question)
    except ValueError as error:
        raise ValueError(as_typed(str(error), args)) from error
    text = json.dumps(plan.to_dict(), indent=2) + "\n"
    if args.json:
        sys.stdout.write(text)
    else:
        print(plan_table(plan))
    if args.out is None and args.json:
        return
    from recipes.commands._plan_picture import draw_plan

    folder = Path(args.out or "runs/plan")
    folder.mkdir(parents=True, exist_ok=True)
    with written_whole(folder / "plan.json") as path:
        path.write_text(text)
    with written_whole(folder / "plan.png") as path:
        draw_plan(question, plan, path)
    if not args.json:
        print(f"\nWrote {folder}/plan.json and {folder}/plan.png")


def _draw_figures(args: argparse.Namespace) -> None:
    for name, value in vars(args).items():
        if value not in (None, False) and name not in ("figures", "law", "json"):
            option = option_of(name)
            raise ValueError(f"{option} has no effect with --figures, which asks no question: remove one of them")
    from recipes.commands._contours import draw_contours

    paths = [str(path) for path in draw_contours(args.law, Path(args.figures))]
    print(json.dumps({"law": args.law, "figures": paths}, indent=2) if args.json else "\n".join(paths))

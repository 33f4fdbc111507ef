"""Plan a model for its lifetime: size and training tokens for a quality and a demand, and what they cost."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from modules.scaling import make_plan, plan_table
from recipes.commands._arguments import parse, run, write_whole
from recipes.commands._plan_options import build_parser
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
        from recipes.commands._contours import draw_contours

        for path in draw_contours(args.law, Path(args.figures)):
            print(path)
        return
    question = read_question(args)
    plan = make_plan(question)
    text = json.dumps(plan.to_dict(), indent=2) + "\n"
    if args.json:
        sys.stdout.write(text)
    else:
        print(plan_table(plan))
    if args.out is None and args.json:
        return
    from recipes.commands._plan_picture import draw_plan

    folder = Path(args.out or "runs/plan")
    write_whole(folder / "plan.json", lambda path: path.write_text(text))
    write_whole(folder / "plan.png", lambda path: draw_plan(question, plan, path))
    if not args.json:
        print(f"\nWrote {folder}/plan.json and {folder}/plan.png")

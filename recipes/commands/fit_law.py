"""Fit a loss law to finished runs (a CSV of sizes, tokens and losses), with bootstrap intervals and a picture."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from callbacks.files import written_whole
from modules.scaling import LawFit, fit_law
from recipes.commands._arguments import OneLineParser, parse, run
from recipes.commands._laws import SYMBOLS, fit_as_dict
from recipes.commands._runs_table import RunsTable, read_runs


def main(argv: list[str]) -> int:
    """Fits one law; see `galley fit-law --help`.

    Returns:
        Exit code: 0, or 2 after a mistake that one line on stderr explains.
    """
    return run("galley fit-law", _fit, argv)


def _build_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(prog="galley fit-law", description=__doc__, allow_abbrev=False)
    parser.add_argument("runs", metavar="RUNS.csv", help="one row a run, with a header")
    parser.add_argument("--parameters-column", metavar="NAME", help="column of N (default: parameters, params or N)")
    parser.add_argument("--tokens-column", metavar="NAME", help="column of D (default: tokens or D)")
    parser.add_argument(
        "--loss-column", metavar="NAME", help="column of the final loss (default: loss, smoothed loss, ...)"
    )
    parser.add_argument("--max-tokens-per-parameter", type=float, metavar="X", help="leave out runs trained for longer")
    parser.add_argument(
        "--bootstrap", type=int, default=200, metavar="K", help="resamples, 0 for none (default: %(default)s)"
    )
    parser.add_argument("--name", help="name of the law (default: that of the file)")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument(
        "--out", metavar="DIR", help="folder of law.json and fit.png (default: runs/fit_law; none with --json)"
    )
    return parser


def _fit(argv: list[str]) -> None:
    args = parse(_build_parser(), argv)
    if args.bootstrap < 0:
        raise ValueError(f"--bootstrap={args.bootstrap} must be zero or more")
    table = read_runs(Path(args.runs), (args.parameters_column, args.tokens_column, args.loss_column))
    if args.max_tokens_per_parameter is not None:
        table = table.up_to(args.max_tokens_per_parameter)
    name = args.name or Path(args.runs).stem
    fit = fit_law(table.parameters, table.tokens, table.loss, name=name, num_bootstrap=args.bootstrap)
    text = json.dumps(fit_as_dict(fit), indent=2) + "\n"
    if args.json:
        sys.stdout.write(text)
    else:
        print(_table(fit))
    if args.out is None and args.json:
        return
    _write(fit, table, text, Path(args.out or "runs/fit_law"), quiet=args.json)


def _write(fit: LawFit, table: RunsTable, text: str, folder: Path, *, quiet: bool) -> None:
    from recipes.commands._fit_picture import draw_fit

    folder.mkdir(parents=True, exist_ok=True)
    law_file, picture = folder / "law.json", folder / "fit.png"
    with written_whole(law_file) as path:
        path.write_text(text)
    with written_whole(picture) as path:
        draw_fit(fit, table, path)
    if not quiet:
        print(f"\nWrote {law_file} and {picture}. Plan with it: galley plan --law {law_file} ...")


def _table(fit: LawFit) -> str:
    lines = [f"{fit.law.name}: {fit.num_runs} runs, L = E + A N^-alpha + B D^-beta", ""]
    samples = fit.law.samples
    for column, (symbol, value) in enumerate(zip(SYMBOLS, fit.law.coefficients, strict=True)):
        line = f"  {symbol:<6}{value:>12.5g}"
        if samples is not None:
            low, high = np.quantile(samples[:, column], (0.1, 0.9))
            line += f"   80% of the bootstrap samples: {low:.4g} to {high:.4g}"
        lines.append(line)
    lines += ["", f"Huber sum {fit.huber_sum:.6g}, mean absolute error {fit.mean_absolute_error:.4f} nats per token;"]
    lines.append(f"{fit.agreeing_share:.0%} of the starts reach this optimum.")
    if samples is not None:
        lines.append("The coefficients are strongly correlated: use the joint samples in law.json, not these ranges.")
    return "\n".join(lines)

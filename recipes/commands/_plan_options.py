"""The options of `galley plan`."""

from __future__ import annotations

import argparse
import re

from modules.scaling import PRESETS
from recipes.commands._arguments import OneLineParser

SHOWN_LAWS = ("besiroglu2024", "sardana2024", "muennighoff2023")
"""Laws that are held beside each other when none are named."""

EPILOG = """\
examples:
  galley plan --quality-of 7B --inference-tokens 1e11
  galley plan --law sardana2024 --quality-of 30B --requests 1.5B --input-tokens 70 --output-tokens 215 \\
      --train-hardware a100-80 --inference-hardware a100-40 --inference-precision int8
  galley plan --like 7B,2T --inference-tokens 1T..100T --fits l4 --unique-tokens 5T
"""


def build_parser(summary: str) -> argparse.ArgumentParser:
    """All options of the command."""
    parser = OneLineParser(
        prog="galley plan",
        description=summary,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_question(parser)
    _add_money(parser)
    _add_limits(parser)
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    output.add_argument(
        "--out", metavar="DIR", help="folder of plan.json and plan.png (default: runs/plan; none with --json)"
    )
    output.add_argument(
        "--figures", metavar="DIR", help="draw the contours of the paper's Figure 1 into DIR, and nothing else"
    )
    return parser


def option_of(name: str) -> str:
    """The option that sets this attribute of the namespace."""
    return f"--{name.replace('_', '-')}"


def as_typed(message: str, args: argparse.Namespace) -> str:
    """A message of the library that names the options that were given: `--max-tokens=` for its `max_tokens=`."""
    message = message.replace("lifetime_cost=", "budget=")
    given = [name for name, value in vars(args).items() if value not in (None, False)]
    return re.sub(rf"(?<![\w-])({'|'.join(given)})=", lambda match: f"{option_of(match[1])}=", message)


def _add_question(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("question")
    group.add_argument(
        "--law", default=SHOWN_LAWS[0], help=f"{', '.join(PRESETS)}, or a file of galley fit-law (default: %(default)s)"
    )
    group.add_argument(
        "--other-laws", metavar="A,B", help=f"laws beside it (default: those of {', '.join(SHOWN_LAWS)})"
    )
    quality = group.add_mutually_exclusive_group()
    quality.add_argument(
        "--quality-of", metavar="N", help="quality of the Chinchilla model of this size, for example 7B"
    )
    quality.add_argument("--loss", help="quality as a loss under the law, nats per token")
    quality.add_argument("--like", metavar="N,D", help="quality of a model of N parameters trained on D tokens: 7B,2T")
    quality.add_argument("--budget", metavar="COST", help="the best quality for this lifetime cost: 1e24 (FLOPs), $1M")
    group.add_argument(
        "--inference-tokens", metavar="TOKENS", help="lifetime demand: 2T, or LOW..HIGH (10%% and 90%% chance)"
    )
    group.add_argument(
        "--requests", metavar="COUNT", help="lifetime demand in requests of --input-tokens and --output-tokens"
    )
    group.add_argument("--input-tokens", metavar="TOKENS", help="tokens read per request")
    group.add_argument("--output-tokens", metavar="TOKENS", help="tokens generated per request")
    group.add_argument("--samples", metavar="K", help="answers generated per request (default: 1)")


def _add_money(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("dollars instead of FLOPs (with --train-hardware)")
    for side, precision in (("train", "bf16"), ("inference", "that of training")):
        group.add_argument(f"--{side}-hardware", metavar="NAME", help="a100-80, a100-40, h100, ...")
        group.add_argument(f"--{side}-price", metavar="PRICE", help="of one device, for example $1.50/h")
        group.add_argument(f"--{side}-precision", metavar="TYPE", help=f"bf16, fp8, int8 (default: {precision})")
    group.add_argument(
        "--output-fraction", metavar="X", help="share of the demand that is generated: 0.75 or 75%% (default: 215/285)"
    )
    group.add_argument("--train-utilization", metavar="X", help="share of peak in training (default: 0.5)")
    group.add_argument("--prefill-utilization", metavar="X", help="share of peak in reading (default: 0.5)")
    group.add_argument("--decode-utilization", metavar="X", help="share of peak in generating (default: 0.01)")


def _add_limits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("limits")
    group.add_argument("--parameters", metavar="N", help="the size is given")
    group.add_argument("--max-parameters", metavar="N", help="largest size")
    group.add_argument("--max-tokens", metavar="D", help="largest number of training tokens")
    group.add_argument("--max-train-flops", metavar="C", help="largest training compute")
    group.add_argument("--fits", metavar="HARDWARE", help="the weights must fit into 80%% of its memory: l4 or 2xl4")
    group.add_argument("--unique-tokens", metavar="D", help="different tokens that exist; more training repeats them")

"""The question that the options of `galley plan` ask."""

from __future__ import annotations

import argparse
from dataclasses import replace

from modules.scaling import (
    FLOPS,
    CostRates,
    DemandDistribution,
    Hardware,
    Limits,
    LossLaw,
    Question,
    parse_count,
    parse_usd_per_hour,
)
from recipes.commands._laws import find_law
from recipes.commands._plan_options import SHOWN_LAWS

WEIGHT_BYTES = {"bf16": 2.0, "fp16": 2.0, "int8": 1.0, "fp8": 1.0}
"""Bytes of a parameter as it is served."""


def read_question(args: argparse.Namespace) -> Question:
    """The question in the options.

    Raises:
        ValueError: an option that cannot be read, is missing, or has no effect.
    """
    if not any((args.quality_of, args.loss, args.like, args.budget)):
        raise ValueError("a demand needs a quality: add --quality-of 7B, --loss 2.0, --like 7B,2T or --budget 1e24")
    law = find_law(args.law)
    tokens, forecast, output_fraction = _demand(args)
    return Question(
        law=law,
        other_laws=_other_laws(args, law),
        inference_tokens=tokens,
        loss=_count(args, "loss"),
        like=_run(args),
        quality_of=_count(args, "quality_of"),
        budget=_count(args, "budget"),
        rates=_rates(args, output_fraction),
        limits=_limits(args),
        forecast=forecast,
        unique_tokens=_count(args, "unique_tokens"),
    )


def _count(args: argparse.Namespace, name: str) -> float | None:
    text = getattr(args, name)
    return None if text is None else parse_count(f"--{name.replace('_', '-')}", text)


def _other_laws(args: argparse.Namespace, law: LossLaw) -> tuple[LossLaw, ...]:
    names = SHOWN_LAWS if args.other_laws is None else [name for name in args.other_laws.split(",") if name]
    return tuple(found for found in map(find_law, names) if found.name != law.name)


def _run(args: argparse.Namespace) -> tuple[float, float] | None:
    if args.like is None:
        return None
    size, comma, tokens = args.like.partition(",")
    if not comma:
        raise ValueError(f"--like={args.like!r} must be a size and a number of tokens: write for example 7B,2T")
    return parse_count("--like", size), parse_count("--like", tokens)


def _demand(args: argparse.Namespace) -> tuple[float, DemandDistribution | None, float | None]:
    """Inference tokens, their distribution where a range is given, the share that is generated where it is known."""
    if (args.inference_tokens is None) == (args.requests is None):
        raise ValueError(
            "exactly one demand is needed: --inference-tokens 1e12, or --requests 1e9 with tokens per request"
        )
    if args.requests is not None:
        return _requests(args)
    for name in ("input_tokens", "output_tokens", "samples"):
        if getattr(args, name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise ValueError(f"{option} has no effect without --requests: remove {option}, or give requests")
    name, (low, dots, high) = "--inference-tokens", args.inference_tokens.partition("..")
    if dots:
        forecast = DemandDistribution.lognormal(parse_count(name, low), parse_count(name, high))
        return forecast.mean, forecast, None
    tokens = parse_count(name, low)
    if tokens < 0:
        raise ValueError(f"--inference-tokens={low} is negative: a demand is zero tokens or more")
    return tokens, None, None


def _requests(args: argparse.Namespace) -> tuple[float, None, float]:
    if args.output_fraction is not None:
        raise ValueError("--output-fraction has no effect with --requests: their tokens tell it; remove it")
    values = [_count(args, name) for name in ("requests", "input_tokens", "output_tokens", "samples")]
    requests, read, written, samples = (0.0 if value is None else value for value in values)
    written *= 1.0 if args.samples is None else samples
    if min(requests, read, written) < 0 or read + written == 0:
        raise ValueError("--requests needs --input-tokens or --output-tokens above zero, and nothing negative")
    return requests * (read + written), None, written / (read + written)


def _rates(args: argparse.Namespace, output_fraction: float | None) -> CostRates:
    shares = {
        name: parse_count(f"--{name.replace('_', '-')}", getattr(args, name))
        for name in ("output_fraction", "train_utilization", "prefill_utilization", "decode_utilization")
        if getattr(args, name) is not None
    }
    if args.train_hardware is None:
        money = [n for n in ("train_price", "inference_hardware", "inference_price") if getattr(args, n) is not None]
        precisions = [n for n in ("train_precision", "inference_precision") if getattr(args, n) and not args.fits]
        for name in (*money, *precisions, *shares):
            option = f"--{name.replace('_', '-')}"
            raise ValueError(f"{option} has no effect without --train-hardware: add it, or remove {option}")
        return FLOPS
    if output_fraction is not None:
        shares["output_fraction"] = output_fraction
    train_precision = args.train_precision or "bf16"
    return CostRates.of_hardware(
        _hardware(args.train_hardware, args.train_price, "--train-price"),
        _hardware(args.inference_hardware or args.train_hardware, args.inference_price, "--inference-price"),
        train_precision=train_precision,
        inference_precision=args.inference_precision or train_precision,
        **shares,
    )


def _hardware(name: str, price: str | None, option: str) -> Hardware:
    return Hardware.preset(name, usd_per_hour=None if price is None else parse_usd_per_hour(option, price))


def _limits(args: argparse.Namespace) -> Limits:
    counts = {name: _count(args, name) for name in ("parameters", "max_parameters", "max_tokens", "max_train_flops")}
    limits = Limits(**counts)
    if args.fits is None:
        return limits
    if limits.max_parameters is not None:
        raise ValueError("--fits and --max-parameters both bound the size: give one of them")
    precision = args.inference_precision or args.train_precision or "bf16"
    if precision not in WEIGHT_BYTES:
        raise ValueError(f"--inference-precision={precision} is unknown: known are {', '.join(WEIGHT_BYTES)}")
    largest = Hardware.preset(args.fits).max_parameters(bytes_per_parameter=WEIGHT_BYTES[precision])
    return replace(limits, max_parameters=largest)

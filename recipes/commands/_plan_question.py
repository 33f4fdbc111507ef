"""The question that the options of `galley plan` ask."""

from __future__ import annotations

import argparse
import re
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
    parse_share,
    parse_usd_per_hour,
)
from recipes.commands._laws import find_law
from recipes.commands._plan_options import SHOWN_LAWS, option_of

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
        budget=_budget(args),
        rates=_rates(args, output_fraction),
        limits=_limits(args),
        forecast=forecast,
        unique_tokens=_count(args, "unique_tokens"),
    )


def _count(args: argparse.Namespace, name: str) -> float | None:
    """An amount above zero."""
    text = getattr(args, name)
    return None if text is None else _amount(option_of(name), text)


def _amount(option: str, text: str) -> float:
    value = parse_count(option, text)
    if value <= 0:
        raise ValueError(f"{option}={text} must be above zero: write for example 7B, 350M, 2T or 1e13")
    return value


def _budget(args: argparse.Namespace) -> float | None:
    text = args.budget
    if text is None or not text.startswith("$"):
        return _count(args, "budget")
    if args.train_hardware is None:
        raise ValueError(f"--budget={text} is in dollars: add --train-hardware a100-80, or give FLOPs such as 1e24")
    return _amount("--budget", text.removeprefix("$"))


def _other_laws(args: argparse.Namespace, law: LossLaw) -> tuple[LossLaw, ...]:
    names = SHOWN_LAWS if args.other_laws is None else [name for name in args.other_laws.split(",") if name]
    try:
        return tuple(found for found in map(find_law, names) if found.name != law.name)
    except ValueError as error:
        raise ValueError(str(error).replace("law=", "--other-laws=", 1)) from None


def _run(args: argparse.Namespace) -> tuple[float, float] | None:
    if args.like is None:
        return None
    size, comma, tokens = args.like.partition(",")
    if not comma:
        raise ValueError(f"--like={args.like!r} must be a size and a number of tokens: write for example 7B,2T")
    return _amount("--like", size), _amount("--like", tokens)


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
            option = option_of(name)
            raise ValueError(f"{option} has no effect without --requests: remove {option}, or give requests")
    name, (low, dots, high) = "--inference-tokens", args.inference_tokens.partition("..")
    if dots:
        if not (low and high):
            raise ValueError(f"{name}={args.inference_tokens} is half a range: write for example 1T..100T")
        smallest, largest = parse_count(name, low), parse_count(name, high)
        if not 0 < smallest < largest:
            raise ValueError(f"{name}={args.inference_tokens} must rise from above zero: write for example 1T..100T")
        forecast = DemandDistribution.lognormal(smallest, largest)
        return forecast.mean, forecast, None
    tokens = parse_count(name, low)
    if tokens < 0:
        raise ValueError(f"--inference-tokens={low} is negative: a demand is zero tokens or more")
    return tokens, None, None


def _requests(args: argparse.Namespace) -> tuple[float, None, float]:
    if args.output_fraction is not None:
        raise ValueError("--output-fraction has no effect with --requests: their tokens tell it; remove it")
    names = ("requests", "input_tokens", "output_tokens", "samples")
    values = [parse_count(option_of(name), text) for name in names if (text := getattr(args, name) or "0")]
    requests, read, written, samples = values
    written *= 1.0 if args.samples is None else samples
    if min(requests, read, written) < 0 or read + written == 0:
        raise ValueError("--requests needs --input-tokens or --output-tokens above zero, and nothing negative")
    return requests * (read + written), None, written / (read + written)


def _rates(args: argparse.Namespace, output_fraction: float | None) -> CostRates:
    shares = {
        name: parse_share(option_of(name), getattr(args, name))
        for name in ("output_fraction", "train_utilization", "prefill_utilization", "decode_utilization")
        if getattr(args, name) is not None
    }
    if args.train_hardware is None:
        money = [n for n in ("train_price", "inference_hardware", "inference_price") if getattr(args, n) is not None]
        precisions = [n for n in ("train_precision", "inference_precision") if getattr(args, n) and not args.fits]
        for name in (*money, *precisions, *shares):
            option = option_of(name)
            raise ValueError(f"{option} has no effect without --train-hardware: add it, or remove {option}")
        return FLOPS
    if output_fraction is not None:
        shares["output_fraction"] = output_fraction
    train_precision = args.train_precision or "bf16"
    inference_precision = args.inference_precision or train_precision
    train = _priced("train", args.train_hardware, args.train_price, train_precision)
    # The device that trains also serves, at its price, unless another device or price is named.
    serving_price = args.inference_price or (None if args.inference_hardware else args.train_price)
    return CostRates.of_hardware(
        train,
        _priced("inference", args.inference_hardware or args.train_hardware, serving_price, inference_precision),
        train_precision=train_precision,
        inference_precision=inference_precision,
        **shares,
    )


def _priced(side: str, name: str, price: str | None, precision: str) -> Hardware:
    option = f"--{side}-price"
    device = _hardware(f"--{side}-hardware", name)
    if precision not in device.peak_flops_per_s:
        known = ", ".join(device.peak_flops_per_s)
        raise ValueError(f"--{side}-precision={precision} is not on record for {name}: known are {known}")
    if price is not None:
        return replace(device, usd_per_hour=parse_usd_per_hour(option, price))
    if device.usd_per_hour is None:
        raise ValueError(f"--{side}-hardware={name} has no price on record: give one, for example {option} '$2.00/h'")
    return device


def _hardware(option: str, name: str) -> Hardware:
    try:
        return Hardware.preset(name)
    except ValueError as error:
        raise ValueError(str(error).replace("hardware=", f"{option}=", 1)) from None


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
    times = re.fullmatch(r"([1-9]\d*)x(.+)", args.fits)  # 2xl4
    number, name = (int(times[1]), times[2]) if times else (1, args.fits)
    largest = _hardware("--fits", name).max_parameters(bytes_per_parameter=WEIGHT_BYTES[precision], num_devices=number)
    return replace(limits, max_parameters=largest)

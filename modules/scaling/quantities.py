"""Quantities as people write them: `7B`, `2T`, `1e13`, `$1.50/h`; and as they like to read them."""

import math
import re

_SCALES = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
_COUNT = re.compile(r"([+-]?[\d_.]+(?:e[+-]?\d+)?)\s*([a-z]?)", re.IGNORECASE)
_PRICE = re.compile(r"\$?\s*([+-]?[\d.]+)\s*\$?\s*(?:/\s*(?:h|hr|hour))?", re.IGNORECASE)


def parse_count(name: str, text: str) -> float:
    """A count such as `7B`, `2T`, `350M`, `1e13` or `1_000_000`; K, M, B, T are powers of a thousand, in either case.

    Raises:
        ValueError: anything else; the message names the quantity.
    """
    match = _COUNT.fullmatch(text.strip())
    scale = _SCALES.get(match[2].upper()) if match else None
    if match is None or scale is None:
        raise ValueError(f"{name}={text!r} is not a count: write for example 7B, 350M, 2T or 1e13")
    return _number(name, match[1], text) * scale


def parse_share(name: str, text: str) -> float:
    """A share such as `0.4` or `40%`.

    Raises:
        ValueError: anything else, or what does not lie between nothing and all.
    """
    digits = text.strip().removesuffix("%")
    try:
        share = float(digits) / (100 if digits != text.strip() else 1)
    except ValueError:
        raise ValueError(f"{name}={text!r} is not a share: write for example 0.4 or 40%") from None
    if not 0 <= share <= 1:
        raise ValueError(f"{name}={text!r} must lie between 0 and 1: write for example 0.4 or 40%")
    return share


def parse_usd_per_hour(name: str, text: str) -> float:
    """A price per device-hour such as `$1.50/h`, `1.50/hour` or `1.5`.

    Raises:
        ValueError: anything else, or a price that is not positive.
    """
    match = _PRICE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{name}={text!r} is not a price per hour: write for example $1.50/h")
    price = _number(name, match[1], text)
    if price <= 0:
        raise ValueError(f"{name}={text!r} must be above zero: write for example $1.50/h")
    return price


def format_count(value: float) -> str:
    """Four digits and a scale: `6B`, `325.1B`, `4.426T`; no scale below the thousands or beyond the trillions."""
    if not 1e3 <= abs(value) < 1e15:
        return f"{value:.4g}"
    # Rounded first, so that 999999 reads 1M and not 1000K.
    rounded = float(f"{value:.4g}")
    suffix = max((s for s in _SCALES if _SCALES[s] <= abs(rounded)), key=lambda s: _SCALES[s])
    return f"{rounded / _SCALES[suffix]:.4g}{suffix}"


def format_usd(value: float) -> str:
    """Dollars with three digits or more: `$0.00123`, `$4.20`, `$1,230`, `$10.88M`."""
    if value >= 1e6:
        return f"${format_count(value)}"
    if value >= 100:
        return f"${value:,.0f}"
    return f"${value:.2f}" if value >= 1 else f"${value:.3g}"


def format_percent(fraction: float) -> str:
    """`17.4%`, with two decimals below ten percent."""
    return f"{100 * fraction:.1f}%" if abs(fraction) >= 0.0995 else f"{100 * fraction:.2f}%"


def _number(name: str, digits: str, text: str) -> float:
    try:
        value = float(digits)
    except ValueError:
        raise ValueError(f"{name}={text!r} is not a number") from None
    if not math.isfinite(value):
        raise ValueError(f"{name}={text!r} is too large")
    return value

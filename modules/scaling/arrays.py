"""Numbers and arrays of numbers as the scaling laws take them, checked where they come in."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
"""fp64 values of any shape; a single number comes back as `numpy.float64`, which is a float."""


def positive(name: str, value: ArrayLike) -> FloatArray:
    """The value as fp64.

    Raises:
        ValueError: not a number, not finite, or not above zero.
    """
    values = _numbers(name, value)
    _require(name, values, (values > 0) & np.isfinite(values), "must be positive and finite")
    return values


def non_negative(name: str, value: ArrayLike) -> FloatArray:
    """The value as fp64.

    Raises:
        ValueError: not a number, not finite, or below zero.
    """
    values = _numbers(name, value)
    _require(name, values, (values >= 0) & np.isfinite(values), "must be zero or more, and finite")
    return values


def _numbers(name: str, value: ArrayLike) -> FloatArray:
    try:
        return np.asarray(value, dtype=np.float64)[()]
    except (TypeError, ValueError):
        raise ValueError(f"{name}={value!r} must be a number or an array of numbers") from None


def _require(name: str, values: FloatArray, good: NDArray[np.bool_], rule: str) -> None:
    if not np.all(good):
        worst = np.broadcast_to(values, np.shape(good))[~np.asarray(good)].flat[0]
        raise ValueError(f"{name}={worst:g} {rule}")

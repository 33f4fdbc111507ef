"""Increasing rational-quadratic splines (Durkan et al., arXiv:1906.04032, section 3.1), analytic in both directions.

Letters: leading dimensions ..., D values on the same spline, K bins.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .kernels import inverse_softplus

MIN_BIN = 1e-3
"""Least width and height of a bin, as a share of the whole; bounds how steep and how flat a spline can get."""

MIN_SLOPE = 1e-3


class Mapped(NamedTuple):
    """Where a spline takes values.

    Attributes:
        value: float[..., D].
        log_slope: Log derivative there, [..., D].
    """

    value: Tensor
    log_slope: Tensor


class MonotoneSpline:
    """Maps the interval [-bound, bound] onto itself by K increasing pieces, and is the identity outside.

    Args:
        raw: Unconstrained parameters [..., 3K - 1]: logits of widths, logits of heights, slopes at the K - 1 inner
            knots. Zeros make the identity.
        bound: Half the length of the interval.
    """

    def __init__(self, raw: Tensor, *, bound: float) -> None:
        num_bins = (raw.shape[-1] + 1) // 3
        assert raw.shape[-1] == num_parameters(num_bins)
        widths, heights, slopes = raw.split([num_bins, num_bins, num_bins - 1], dim=-1)
        self.x = _knots(widths, bound)  # [..., K + 1], as are the next two
        self.y = _knots(heights, bound)
        inner = MIN_SLOPE + F.softplus(slopes + inverse_softplus(1 - MIN_SLOPE))
        self.slope = F.pad(inner, (1, 1), value=1.0)
        self.bound = bound

    def forward(self, x: Tensor) -> Mapped:
        """From x float[..., D] to y."""
        inside = x.abs() < self.bound
        x_safe = torch.where(inside, x, 0.0)
        piece = self._piece(self.x, x_safe)
        t = (x_safe - piece.x) / piece.width
        both = t * (1 - t)
        below = piece.steep + piece.bend * both
        y = piece.y + piece.height * (piece.steep * t.square() + piece.slope * both) / below
        log_slope = _log_slope(piece, t)
        return Mapped(torch.where(inside, y, x), torch.where(inside, log_slope, 0.0))

    def inverse(self, y: Tensor) -> Tensor:
        """From y float[..., D] to x: the root, between 0 and 1, of a quadratic in each bin."""
        inside = y.abs() < self.bound
        y_safe = torch.where(inside, y, 0.0)
        piece = self._piece(self.y, y_safe)
        rise = y_safe - piece.y
        a = piece.height * (piece.steep - piece.slope) + rise * piece.bend
        b = piece.height * piece.slope - rise * piece.bend
        c = -piece.steep * rise
        root = (b.square() - 4 * a * c).clamp(min=0).sqrt()
        t = (2 * c / (-b - root)).clamp(0, 1)
        return torch.where(inside, piece.x + t * piece.width, y)

    def _piece(self, knots: Tensor, values: Tensor) -> _Piece:
        """The bins [..., D] that `values` [..., D] lie in along `knots` [..., K + 1]."""
        index = torch.searchsorted(knots[..., 1:-1].detach().contiguous(), values.detach().contiguous(), right=True)

        def pick(parameters: Tensor) -> Tensor:
            return parameters.gather(-1, index)

        x, y, slope = pick(self.x), pick(self.y), pick(self.slope)
        width, height = pick(self.x.diff(dim=-1)), pick(self.y.diff(dim=-1))
        steep = height / width
        return _Piece(x, y, width, height, slope, steep, slope + pick(self.slope[..., 1:]) - 2 * steep)


class _Piece(NamedTuple):
    """One bin for each value, all [..., D].

    Attributes:
        x: Its left knot.
        y: Its lower knot.
        width: Along x.
        height: Along y.
        slope: Derivative at its left knot.
        steep: Mean slope, `height / width`.
        bend: Slopes at both knots less twice the mean slope.
    """

    x: Tensor
    y: Tensor
    width: Tensor
    height: Tensor
    slope: Tensor
    steep: Tensor
    bend: Tensor


def num_parameters(num_bins: int) -> int:
    """How many parameters a spline of `num_bins` pieces has."""
    return 3 * num_bins - 1


def _knots(logits: Tensor, bound: float) -> Tensor:
    """Knots [..., K + 1] from -bound to bound, each bin at least `MIN_BIN` of the whole."""
    num_bins = logits.shape[-1]
    shares = MIN_BIN + (1 - MIN_BIN * num_bins) * logits.softmax(dim=-1)
    inner = 2 * bound * shares[..., :-1].cumsum(dim=-1) - bound
    return F.pad(F.pad(inner, (1, 0), value=-bound), (0, 1), value=bound)


def _log_slope(piece: _Piece, t: Tensor) -> Tensor:
    """Log derivative at the share t of each bin."""
    end = piece.bend + 2 * piece.steep - piece.slope  # the slope at the right knot
    above = end * t.square() + 2 * piece.steep * t * (1 - t) + piece.slope * (1 - t).square()
    below = piece.steep + piece.bend * t * (1 - t)
    return 2 * piece.steep.log() + above.log() - 2 * below.log()

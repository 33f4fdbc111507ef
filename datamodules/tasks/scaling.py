"""The units of learners, estimated from training tasks.

Letters: B tasks, M points of a task, R points in all, X and Y widths.
"""

from __future__ import annotations

import torch
from torch import Tensor

from modules.contracts import Scaling

from .base import Points

FLAT = 1e-6
"""A column that varies by less than this share of its largest value does so by the rounding of float32."""


def estimate_scaling(points: Points) -> Scaling:
    """Means and standard deviations over all real points; a column that does not vary keeps its unit."""
    (x_mean, x_scale), (y_mean, y_scale) = (_moments(values[points.mask]) for values in (points.x, points.y))
    return Scaling(x_mean, x_scale, y_mean, y_scale)


def _moments(values_RX: Tensor) -> tuple[Tensor, Tensor]:
    values_RX = values_RX.double()
    sd = values_RX.std(dim=0, correction=0)
    varies = sd > FLAT * values_RX.abs().amax(dim=0)
    return values_RX.mean(dim=0).float(), torch.where(varies, sd, 1.0).float()

"""Whether predicted probabilities come true: all of it told by the probability integral transform (PIT).

Letters: S draws, B tasks, Q query points, L levels, P targets.
"""

from __future__ import annotations

import torch
from torch import Tensor

COVERAGE_LEVELS = (0.50, 0.80, 0.90, 0.95)
NUM_CALIBRATION_LEVELS = 20


def pit(samples_SBQ: Tensor, y_BQ: Tensor, uniforms_BQ: Tensor, *, tie_width: float = 0.0) -> Tensor:
    """Randomised PIT of the targets: their rank among the draws as a number in [0, 1], ties broken at random.

    (number below + u (number of ties + 1)) / (S + 1): exactly uniform for any S where targets and draws come from the
    same distribution, atoms included (Czado, Gneiting and Held 2009).

    Args:
        samples_SBQ: Draws; any dimensions after the first.
        y_BQ: Targets.
        uniforms_BQ: Random numbers in [0, 1).
        tie_width: Draws closer than half of it to a target tie with it. For discrete targets it is their spacing: all
            that a continuous predictive puts near a value counts as that value.
    """
    errors_SBQ = samples_SBQ - y_BQ
    ties_SBQ = errors_SBQ.abs() < tie_width / 2 if tie_width else errors_SBQ == 0
    below_BQ = ((errors_SBQ < 0) & ~ties_SBQ).sum(dim=0)
    return (below_BQ + uniforms_BQ * (ties_SBQ.sum(dim=0) + 1)) / (samples_SBQ.shape[0] + 1)


def coverage(pit: Tensor, level: float) -> Tensor:
    """Whether each target lies in the central interval of probability `level`: 1 or 0, in the shape of `pit`."""
    return ((pit - 0.5).abs() <= level / 2).to(pit)


def calibration_error(pit: Tensor) -> Tensor:
    """RMSE of the frequency of targets below a quantile, over 20 levels from .05 to .95 (as in PACOH), a scalar."""
    levels_L = torch.linspace(0.05, 0.95, NUM_CALIBRATION_LEVELS, dtype=pit.dtype, device=pit.device)
    frequencies_L = (pit.flatten() <= levels_L[:, None]).to(pit).mean(dim=1)
    return (frequencies_L - levels_L).square().mean().sqrt()


def uniform_distance(pit: Tensor) -> Tensor:
    """Kolmogorov-Smirnov distance of PIT values to the uniform distribution, a scalar in [0, 1]."""
    sorted_P = pit.flatten().sort().values
    ranks_P = torch.arange(len(sorted_P), dtype=pit.dtype, device=pit.device)
    above = (ranks_P + 1) / len(sorted_P) - sorted_P
    below = sorted_P - ranks_P / len(sorted_P)
    return torch.maximum(above.max(), below.max())

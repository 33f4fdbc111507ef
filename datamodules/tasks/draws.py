"""What the task families draw from.

Letters: B tasks, M points of a task, X input width, J latents.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

Range = tuple[float, float]
"""Lower and upper end of a uniform distribution; equal ends fix the value."""

JITTER = 1e-9
"""Share of the variance that is added to the diagonal, for float64: three points within a hair are still exact."""


def uniform(limits: Range, shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Uniform draws between two limits."""
    low, high = limits
    return low + (high - low) * torch.rand(shape, generator=generator)


def normal(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Standard normal draws."""
    return torch.randn(shape, generator=generator)


def truncated_normal(limits: Range, shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Standard normal draws that fell between two limits, by the inverse of the distribution function."""
    low, high = (0.5 * (1 + math.erf(limit / math.sqrt(2))) for limit in limits)
    return torch.special.ndtri(uniform((low, high), shape, generator).double()).float().clamp(*limits)


def gaussian_process(
    x_BMX: Tensor, lengthscale: Tensor | float, variance: Tensor | float, num_draws: int, generator: Generator
) -> Tensor:
    """Independent draws of a Gaussian process with covariance variance * exp(-|x - x'|^2 / (2 lengthscale^2)).

    Args:
        x_BMX: Inputs.
        lengthscale: One for all tasks, or [B, 1, 1].
        variance: One for all tasks, or [B, 1, 1].
        num_draws: J.

    Returns:
        float64[B, M, J]: in float32 such a covariance matrix is singular.
    """
    x_BMX = x_BMX.double()
    squares_BMM = (x_BMX[:, :, None] - x_BMX[:, None]).square().sum(dim=-1)
    covariance_BMM = torch.exp(-0.5 * squares_BMM / lengthscale**2)
    covariance_BMM.diagonal(dim1=-2, dim2=-1).add_(JITTER)
    noise_BMJ = torch.randn((*x_BMX.shape[:2], num_draws), generator=generator, dtype=torch.float64)
    return variance**0.5 * (torch.linalg.cholesky(covariance_BMM) @ noise_BMJ)


def check_range(name: str, limits: Range, *, lowest: float = -math.inf) -> None:
    """Raises a ValueError where the limits of a uniform distribution are no such thing."""
    low, high = limits
    if not lowest <= low <= high < math.inf:
        floor = "" if lowest == -math.inf else f"{lowest:g} <= "
        raise ValueError(
            f"{name}={list(limits)} must be [low, high] with {floor}low <= high (data.init_args.tasks.init_args.{name})"
        )


def check_at_least(minimum: float, **values: float) -> None:
    """Raises a ValueError for a value below `minimum`, or one that is no number."""
    for name, value in values.items():
        if not minimum <= value < math.inf:
            raise ValueError(f"{name}={value} must be at least {minimum:g} (data.init_args.tasks.init_args.{name})")


def check_positive(**values: float) -> None:
    """Raises a ValueError for a value that is not positive."""
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name}={value} must be positive (data.init_args.tasks.init_args.{name})")

"""The generative tasks of PACOH (arXiv:2002.05551), made for few training tasks with few points each.

As published: 20 training tasks of 5 (sinusoid) or 20 (Cauchy) points, which is `num_train_tasks: 20` of
`datamodules.FewShotData` and support and query points of that sum.

Letters: B tasks, M points, X input width.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from .base import SplitName, TaskFamily
from .draws import Range, check_at_least, check_range, gaussian_process, normal, truncated_normal, uniform

NormalParameters = tuple[float, float]
"""Mean and standard deviation."""


class PacohSinusoid(TaskFamily):
    """y = slope x + A sin(f (x - shift)) + offset + noise.

    Args:
        amplitude: Range of A, uniform.
        frequency: f, the same for all tasks, in radians per unit of x.
        shift: Mean and standard deviation of the shift, normal.
        offset: The same for the offset.
        slope: The same for the slope.
        x_range: Range of the inputs.
        noise_sd: Standard deviation of Gaussian noise on the targets.

    Raises:
        ValueError: A range is no range, or a standard deviation negative.
    """

    name = "PACOH sinusoid"

    def __init__(
        self,
        amplitude: Range = (0.7, 1.3),
        *,
        frequency: float = 1.5,
        shift: NormalParameters = (0.0, 0.1),
        offset: NormalParameters = (5.0, 0.1),
        slope: NormalParameters = (0.5, 0.2),
        x_range: Range = (-5.0, 5.0),
        noise_sd: float = 0.1,
    ) -> None:
        check_range("amplitude", amplitude, lowest=0.0)
        check_range("x_range", x_range)
        check_at_least(0, shift=shift[1], offset=offset[1], slope=slope[1], noise_sd=noise_sd)
        self.amplitude = amplitude
        self.frequency = frequency
        self.shift = shift
        self.offset = offset
        self.slope = slope
        self.x_range = x_range
        self.picture_range = x_range
        self.noise_sd = noise_sd

    def inputs(self, num_tasks: int, num_points: int, generator: Generator, *, split: SplitName) -> Tensor:
        return uniform(self.x_range, (num_tasks, num_points, 1), generator)

    def targets(self, x: Tensor, generator: Generator) -> Tensor:
        amplitude_B11 = uniform(self.amplitude, (len(x), 1, 1), generator)
        shift_B11, offset_B11, slope_B11 = (
            mean + sd * normal((len(x), 1, 1), generator) for mean, sd in (self.shift, self.offset, self.slope)
        )
        wave_BM1 = amplitude_B11 * torch.sin(self.frequency * (x - shift_B11))
        return slope_B11 * x + wave_BM1 + offset_B11 + self.noise_sd * normal(tuple(x.shape), generator)


class PacohCauchy(TaskFamily):
    """y = m(x) + g(x) + noise: two Cauchy bumps that all tasks share, and a smooth Gaussian process of each task's own.

    m(x) = 6 C(x + 1) + 3 C(x - 2) + 1 with C(u) = 1 / (pi (1 + |u|^2)); inputs are N(0, 2.5^2) between -7.5 and 5.

    Args:
        input_dim: X.
        process_sd: Standard deviation of g.
        lengthscale: Of g; the published kernel exp(-|x - x'|^2 / (2 * 0.5)) has the root of 0.5.
        noise_sd: Standard deviation of Gaussian noise on the targets.

    Raises:
        ValueError: A width is below 1, or a standard deviation negative.
    """

    name = "PACOH Cauchy"
    x_limits = (-3.0, 2.0)
    """Of the truncated normal distribution, in its standard deviations."""
    x_sd = 2.5
    picture_range = (-7.5, 5.0)

    def __init__(
        self,
        input_dim: int = 2,
        *,
        process_sd: float = 0.2,
        lengthscale: float = math.sqrt(0.5),
        noise_sd: float = 0.05,
    ) -> None:
        check_at_least(1, input_dim=input_dim)
        check_at_least(0, process_sd=process_sd, noise_sd=noise_sd)
        check_at_least(1e-6, lengthscale=lengthscale)
        self.input_dim = input_dim
        self.process_sd = process_sd
        self.lengthscale = lengthscale
        self.noise_sd = noise_sd

    def inputs(self, num_tasks: int, num_points: int, generator: Generator, *, split: SplitName) -> Tensor:
        return self.x_sd * truncated_normal(self.x_limits, (num_tasks, num_points, self.input_dim), generator)

    def targets(self, x: Tensor, generator: Generator) -> Tensor:
        process_BM1 = gaussian_process(x, self.lengthscale, self.process_sd**2, 1, generator).float()
        return self.common_mean(x) + process_BM1 + self.noise_sd * normal((*x.shape[:2], 1), generator)

    @staticmethod
    def common_mean(x: Tensor) -> Tensor:
        """m(x), [B, M, 1]."""
        first, second = (1 / (math.pi * (1 + (x - place).square().sum(dim=-1, keepdim=True))) for place in (-1.0, 2.0))
        return 6 * first + 3 * second + 1

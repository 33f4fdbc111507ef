"""Gaussian processes of random scale: the regression tasks on which neural processes are compared (arXiv:2207.04179).

Letters: B tasks, M points.
"""

from __future__ import annotations

from torch import Generator, Tensor

from .base import SplitName, TaskFamily
from .draws import Range, check_at_least, check_range, gaussian_process, normal, uniform


class RandomScaleProcess(TaskFamily):
    """y ~ GP(0, s^2 RBF(l)) + noise with l and s of each task's own, all inputs uniform.

    Args:
        lengthscale: Range of l.
        scale: Range of s.
        x_range: Range of the inputs.
        noise_sd: Standard deviation of Gaussian noise on the targets.

    Raises:
        ValueError: A range is no range or not positive, or noise is negative.
    """

    name = "random-scale process"

    def __init__(
        self,
        lengthscale: Range = (0.1, 0.6),
        *,
        scale: Range = (0.1, 1.0),
        x_range: Range = (-2.0, 2.0),
        noise_sd: float = 0.02,
    ) -> None:
        check_range("lengthscale", lengthscale, lowest=1e-6)
        check_range("scale", scale, lowest=0.0)
        check_range("x_range", x_range)
        check_at_least(0, noise_sd=noise_sd)
        self.lengthscale = lengthscale
        self.scale = scale
        self.x_range = x_range
        self.picture_range = x_range
        self.noise_sd = noise_sd

    def inputs(self, num_tasks: int, num_points: int, generator: Generator, *, split: SplitName) -> Tensor:
        return uniform(self.x_range, (num_tasks, num_points, 1), generator)

    def targets(self, x: Tensor, generator: Generator) -> Tensor:
        lengthscale_B11 = uniform(self.lengthscale, (len(x), 1, 1), generator)
        scale_B11 = uniform(self.scale, (len(x), 1, 1), generator)
        process_BM1 = gaussian_process(x, lengthscale_B11, scale_B11.square(), 1, generator).float()
        return process_BM1 + self.noise_sd * normal(tuple(x.shape), generator)

"""Transformed Gaussian processes: the latent-function tasks of VMGP (arXiv:2110.11044).

Letters: B tasks, M points, J latents.
"""

from __future__ import annotations

import math

from torch import Generator, Tensor

from modules.contracts import Predictive

from .base import SplitName, TaskFamily
from .draws import check_at_least, check_positive, gaussian_process, normal
from .transforms import Floor, Transform


class LatentFunction(TaskFamily):
    """y = T(z(x)) with x ~ N(0, I) and J independent latents z_j ~ GP(0, variance * RBF(lengthscale)).

    The lengthscale is softplus(0.5), as the published code takes its configured 0.5 for a raw value. Its variance,
    w^2 + softplus(g) with w, g ~ N(0, 1), is drawn anew in each process; here it is fixed, w^2 at its mean of 1 and
    softplus at g = 0. Noise-free targets are the default, as there; `Floor(10)` with `noise_sd=1` is its noisy variant.

    Args:
        transform: T; None is `Floor()`, 5 floor(z).
        input_dim: X.
        latent_dim: J.
        lengthscale: In units of x.
        variance: Of each latent.
        noise_sd: Standard deviation of Gaussian noise on the targets.

    Raises:
        ValueError: A width is below 1, a lengthscale or variance not positive, or noise negative.
    """

    picture_range = (-2.5, 2.5)

    def __init__(
        self,
        transform: Transform | None = None,
        *,
        input_dim: int = 1,
        latent_dim: int = 1,
        lengthscale: float = 0.974,
        variance: float = 1 + math.log(2),
        noise_sd: float = 0.0,
    ) -> None:
        check_at_least(1, input_dim=input_dim, latent_dim=latent_dim)
        check_positive(lengthscale=lengthscale, variance=variance)
        check_at_least(0, noise_sd=noise_sd)
        self.transform = transform or Floor()
        self.input_dim = input_dim
        self.latent_dim = latent_dim
        self.lengthscale = lengthscale
        self.variance = variance
        self.noise_sd = noise_sd
        self.name = f"noisy {self.transform.name}" if noise_sd else self.transform.name
        self.spacing = None if noise_sd else self.transform.spacing

    def inputs(self, num_tasks: int, num_points: int, generator: Generator, *, split: SplitName) -> Tensor:
        return normal((num_tasks, num_points, self.input_dim), generator)

    def targets(self, x: Tensor, generator: Generator) -> Tensor:
        z_BMJ = gaussian_process(x, self.lengthscale, self.variance, self.latent_dim, generator)
        y_BM1 = self.transform(z_BMJ).float()
        return y_BM1 + self.noise_sd * normal(tuple(y_BM1.shape), generator) if self.noise_sd else y_BM1

    def oracle(
        self,
        support_x: Tensor,
        support_y: Tensor,
        support_mask: Tensor,
        query_x: Tensor,
        *,
        num_samples: int = 1000,
        generator: Generator | None = None,
    ) -> Predictive | None:
        """Known for the identity, and of one latent without noise for floor, sign, |z| and z^2."""
        from .oracles import latent_oracle

        return latent_oracle(
            self, support_x, support_y, support_mask, query_x, num_samples=num_samples, generator=generator
        )

"""From the values of a latent function to targets: the T(z) of VMGP's latent-function tasks (arXiv:2110.11044).

Letters: B tasks, M points, J latents.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from .draws import check_positive


class Transform(ABC):
    """A function of the J latent values at a point, the same for all tasks.

    Attributes:
        name: What the tasks are called in pictures and tables.
        spacing: Distance between neighbouring values where they are discrete; None where they are continuous.
    """

    name: str
    spacing: float | None = None

    @abstractmethod
    def __call__(self, z_BMJ: Tensor) -> Tensor:
        """Targets [B, M, 1]."""


class Identity(Transform):
    """The sum of the latents: a Gaussian process, where every learner should do as well as the exact one."""

    name = "identity"

    def __call__(self, z_BMJ: Tensor) -> Tensor:
        return z_BMJ.sum(dim=-1, keepdim=True)


class Absolute(Transform):
    """The sum of |z|."""

    name = "absolute"

    def __call__(self, z_BMJ: Tensor) -> Tensor:
        return z_BMJ.abs().sum(dim=-1, keepdim=True)


class Square(Transform):
    """The sum of z^2."""

    name = "square"

    def __call__(self, z_BMJ: Tensor) -> Tensor:
        return z_BMJ.square().sum(dim=-1, keepdim=True)


class SquaredSum(Transform):
    """(sum of z)^2."""

    name = "squared sum"

    def __call__(self, z_BMJ: Tensor) -> Tensor:
        return z_BMJ.sum(dim=-1, keepdim=True).square()


class Sine(Transform):
    """The sum of sin z."""

    name = "sine"

    def __call__(self, z_BMJ: Tensor) -> Tensor:
        return z_BMJ.sin().sum(dim=-1, keepdim=True)


class Product(Transform):
    """The product of the latents."""

    name = "product"

    def __call__(self, z_BMJ: Tensor) -> Tensor:
        return z_BMJ.prod(dim=-1, keepdim=True)


class Sign(Transform):
    """The product of the signs: -1 or 1."""

    name = "sign"
    spacing = 2.0

    def __call__(self, z_BMJ: Tensor) -> Tensor:
        return torch.where(z_BMJ < 0, -1.0, 1.0).to(z_BMJ).prod(dim=-1, keepdim=True)


class Floor(Transform):
    """The sum of floor z times the height of a step.

    Args:
        step: Height of a step, in units of the targets.

    Raises:
        ValueError: `step` is not positive.
    """

    name = "floor"

    def __init__(self, step: float = 5.0) -> None:
        check_positive(step=step)
        self.step = step
        self.spacing = step

    def __call__(self, z_BMJ: Tensor) -> Tensor:
        return self.step * z_BMJ.floor().sum(dim=-1, keepdim=True)


class ArctangentInverse(Transform):
    """The sum of atan(1 / z): a jump by pi wherever a latent changes its sign."""

    name = "atan(1/z)"

    def __call__(self, z_BMJ: Tensor) -> Tensor:
        return z_BMJ.reciprocal().atan().sum(dim=-1, keepdim=True)


class SineInverse(Transform):
    """The sum of sin(1 / z): ever faster oscillations around the zeros of a latent."""

    name = "sin(1/z)"

    def __call__(self, z_BMJ: Tensor) -> Tensor:
        return z_BMJ.reciprocal().sin().sum(dim=-1, keepdim=True)


class Clipped(Transform):
    """A transform with poles.

    Args:
        clip: Largest magnitude of a target.

    Raises:
        ValueError: `clip` is not positive.
    """

    def __init__(self, clip: float = 100.0) -> None:
        check_positive(clip=clip)
        self.clip = clip


class Tangent(Clipped):
    """The sum of tan z, clipped."""

    name = "tangent of a latent"

    def __call__(self, z_BMJ: Tensor) -> Tensor:
        return z_BMJ.tan().sum(dim=-1, keepdim=True).clamp(-self.clip, self.clip)


class Cosecant(Clipped):
    """The sum of 1 / sin z, clipped."""

    name = "cosecant"

    def __call__(self, z_BMJ: Tensor) -> Tensor:
        return z_BMJ.sin().reciprocal().sum(dim=-1, keepdim=True).clamp(-self.clip, self.clip)

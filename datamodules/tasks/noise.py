"""Observation noise of the sinusoids.

Letters: B tasks, M points.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Generator, Tensor

from .draws import check_at_least, check_positive, normal


class Noise(ABC):
    """A distribution of noise that may depend on task and place."""

    @abstractmethod
    def draw(self, amplitude_B11: Tensor, place_BM1: Tensor, generator: Generator) -> Tensor:
        """Noise [B, M, 1].

        Args:
            amplitude_B11: A of each task.
            place_BM1: x + phi.
            generator: Source of the noise.
        """


class GaussianNoise(Noise):
    """Centred Gaussian noise."""

    @abstractmethod
    def sd(self, amplitude_B11: Tensor, place_BM1: Tensor) -> Tensor:
        """Its standard deviation, of a shape that broadcasts to [B, M, 1]."""

    def draw(self, amplitude_B11: Tensor, place_BM1: Tensor, generator: Generator) -> Tensor:
        return self.sd(amplitude_B11, place_BM1) * normal(tuple(place_BM1.shape), generator)


class RelativeNoise(GaussianNoise):
    """Standard deviation `share` * A (VMGP, BMAML)."""

    def __init__(self, share: float = 0.01) -> None:
        check_at_least(0, share=share)
        self.share = share

    def sd(self, amplitude_B11: Tensor, place_BM1: Tensor) -> Tensor:
        return self.share * amplitude_B11


class FixedNoise(GaussianNoise):
    """Standard deviation `scale` everywhere (ALPaCA, DKT)."""

    def __init__(self, scale: float = 0.1) -> None:
        check_at_least(0, scale=scale)
        self.scale = scale

    def sd(self, amplitude_B11: Tensor, place_BM1: Tensor) -> Tensor:
        return torch.full_like(amplitude_B11, self.scale)


class MixedNoise(GaussianNoise):
    """Standard deviation `scale` * |x + phi| (NGGP)."""

    def __init__(self, scale: float = 0.1) -> None:
        check_at_least(0, scale=scale)
        self.scale = scale

    def sd(self, amplitude_B11: Tensor, place_BM1: Tensor) -> Tensor:
        return self.scale * place_BM1.abs()


class ExponentialNoise(Noise):
    """Exponential noise, never negative, of the given mean.

    NGGP writes Exp(0.5). That is read as the mean: with a rate of 0.5 no method could reach the published 0.77 nats,
    as the entropy of the noise alone would be 1.69.
    """

    def __init__(self, mean: float = 0.5) -> None:
        check_positive(mean=mean)
        self.mean = mean

    def draw(self, amplitude_B11: Tensor, place_BM1: Tensor, generator: Generator) -> Tensor:
        return self.mean * torch.empty_like(place_BM1).exponential_(generator=generator)

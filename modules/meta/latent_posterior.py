"""What the objectives and predictions of VMGP need of an approximate posterior q(Z | X, Y).

Letters: B tasks, N support points, M points, Q query points, J latents, S samples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

from torch import Generator, Tensor, nn

from .latent_prior import LatentPrior

LatentSampler = Callable[[int, Generator | None], Tensor]
"""Draws S latents at some points: [S, B, Q, J]."""


class LabelledPoints(NamedTuple):
    """Labelled points of B tasks.

    Attributes:
        x: float[B, M, X].
        y: float[B, M, Y].
        mask: bool[B, M]; False for filler.
    """

    x: Tensor
    y: Tensor
    mask: Tensor


class Marginals(NamedTuple):
    """q at each point by itself, and how far q is from the prior.

    Attributes:
        draw: Draws the latents; right at each point, independent between points.
        divergence_B: KL(q || p) of each task, in nats.
    """

    draw: LatentSampler
    divergence_B: Tensor


class WeightedDraws(NamedTuple):
    """Draws of q and what importance sampling must know of them.

    Attributes:
        latents_SBMJ: The draws.
        log_ratio: log p - log q of each: [S, B] for joint draws, [S, B, M] for points by themselves.
    """

    latents_SBMJ: Tensor
    log_ratio: Tensor


class LatentPosterior(nn.Module, ABC):
    """An amortised q(Z | X, Y): permuting the points permutes it, and filler points have no part in it."""

    @abstractmethod
    def marginals(self, prior: LatentPrior, points: LabelledPoints) -> Marginals:
        """q at the points themselves, for the ELBO."""

    @abstractmethod
    def weighted_draws(
        self, prior: LatentPrior, points: LabelledPoints, num_samples: int, generator: Generator | None
    ) -> WeightedDraws:
        """Joint draws of q at the points themselves, weighed by p(Z) / q(Z)."""

    @abstractmethod
    def weighted_query_draws(
        self,
        prior: LatentPrior,
        support: LabelledPoints,
        queries: LabelledPoints,
        num_samples: int,
        generator: Generator | None,
    ) -> WeightedDraws:
        """Draws at each query by itself, from a q that sees its label, weighed by p(z* | support) / q(z*).

        p(z* | support) is what `at_queries` draws from.
        """

    @abstractmethod
    def at_queries(self, prior: LatentPrior, support: LabelledPoints, query_x: Tensor, *, joint: bool) -> LatentSampler:
        """The latents at new points, given the support: int p(Z* | Z) q(Z | support) dZ.

        Args:
            prior: p.
            support: N labelled points of each task; N may be 0.
            query_x: float[B, Q, X].
            joint: Whether the queries of a task hang together, or each is right by itself.
        """

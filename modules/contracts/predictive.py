"""What a few-shot learner, or an oracle, answers: the distribution of the targets at some query points.

Letters: S samples, B tasks, Q query points, Y target width, P probabilities.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Generator, Tensor

MAX_JOINT_QUERIES = 256
"""A joint distribution of more query points costs more memory and time than anyone expects."""


class Estimate(NamedTuple):
    """A value and its Monte-Carlo standard error, which is zero where the value is exact."""

    value: Tensor
    error: Tensor


def log_mean(logs: Tensor, log_weights: Tensor | None = None) -> Estimate:
    """Log of the mean of exp(`logs` [S, ...]) over S, and its Monte-Carlo error by the delta method.

    Args:
        logs: Logs of the draws.
        log_weights: Logs of their weights, which sum to 1; None: equal ones.
    """
    if log_weights is None:
        log_weights = logs.new_full((), -math.log(len(logs)))
    value = torch.logsumexp(logs + log_weights, dim=0)
    shares = (logs + log_weights - value).exp()  # of each draw in the mean
    return Estimate(value, (shares - log_weights.exp()).square().sum(dim=0).sqrt())


class Predictive(ABC):
    """Distribution of the targets [B, Q, Y], observation noise included. Densities are in nats.

    Attributes:
        mean: float[B, Q, Y].
    """

    mean: Tensor

    @abstractmethod
    def sample(self, num_samples: int, *, joint: bool = False, generator: Generator | None = None) -> Tensor:
        """Draws [S, B, Q, Y].

        Args:
            num_samples: S.
            joint: Whether the queries of a task hang together as the model says. Without it only each query by itself
                is right, which is all that scores per point need and much cheaper.
            generator: Source of the draws.

        Raises:
            ValueError: `joint` with more than `MAX_JOINT_QUERIES` queries.
        """

    @abstractmethod
    def log_prob(self, y: Tensor) -> Estimate:
        """Log density of targets float[B, Q, Y] at each query by itself, [B, Q]."""

    @abstractmethod
    def joint_log_prob(self, y: Tensor, mask: Tensor | None = None) -> Estimate:
        """Log density of the targets float[B, Q, Y] of a task together, [B]; `mask` bool[B, Q] tells which count.

        Raises:
            ValueError: More than `MAX_JOINT_QUERIES` queries.
        """

    @abstractmethod
    def log_mass(self, low: Tensor, high: Tensor) -> Estimate:
        """Log probability [B, Q] that the target lies between `low` and `high`, both [B, Q, Y], far tails included."""

    @abstractmethod
    def cdf(self, y: Tensor) -> Tensor:
        """Probability [B, Q, Y] that each target is at most `y` [B, Q, Y]."""

    @abstractmethod
    def quantile(self, probabilities: Tensor) -> Tensor:
        """The values [P, B, Q, Y] below which targets fall with `probabilities` [P] in (0, 1)."""


def check_joint(num_queries: int) -> None:
    """Raises a ValueError where a joint distribution would be too large."""
    if num_queries > MAX_JOINT_QUERIES:
        raise ValueError(
            f"a joint distribution of {num_queries} queries is refused above {MAX_JOINT_QUERIES}: "
            "ask for fewer queries, or for each by itself (joint=False)"
        )

"""The predictive of a latent mixture that climbs a staircase: y = lowest + jump * (number of edges at or below z).

Letters: E edges; others as in `Predictive`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from modules.contracts import Estimate, GaussianMixture, Predictive

FAR = 1e4
"""Beyond any latent value, but finite."""


class Staircase(Predictive):
    """Atoms at lowest, lowest + jump, ...

    Args:
        latent: Of z, with one target dimension.
        edges_E: Where z steps up, ascending.
        lowest: Value below the first edge.
        jump: Height of each step.
        log_mass: Log probability that z at each query lies between two edges, from both edges [B, Q, 1]: [B, Q]. That
            of `latent`, from which `cdf` and the rest follow, misses what few of its draws reach; both agree within
            their Monte-Carlo errors.
    """

    def __init__(
        self,
        latent: GaussianMixture,
        edges_E: Tensor,
        *,
        lowest: float,
        jump: float,
        log_mass: Callable[[Tensor, Tensor], Estimate],
    ) -> None:
        self.latent = latent
        self.edges_E = edges_E.double()
        self.lowest = lowest
        self.jump = jump
        self._log_mass = log_mass

    @property
    def mean(self) -> Tensor:  # type: ignore[override]
        mean = torch.full_like(self.latent.mean, self.lowest)
        for edge in self.edges_E:
            mean += self.jump * (1 - self.latent.cdf(edge.expand_as(mean)))
        return mean

    def sample(self, num_samples: int, *, joint: bool = False, generator: Generator | None = None) -> Tensor:
        return self._climbed(self.latent.sample(num_samples, joint=joint, generator=generator))

    def log_prob(self, y: Tensor) -> Estimate:
        """The density has no bound: inf at a value that the staircase has, -inf elsewhere. Ask `log_mass`."""
        steps = (y - self.lowest) / self.jump
        on_a_step = ((steps - steps.round()).abs() < 1e-4).all(dim=-1)
        value = torch.where(on_a_step, torch.inf, -torch.inf).to(self.edges_E)
        return Estimate(value, torch.zeros_like(value))

    def joint_log_prob(self, y: Tensor, mask: Tensor | None = None) -> Estimate:
        """As `log_prob`."""
        value = self.log_prob(y).value
        value = value.amin(dim=1) if mask is None else torch.where(mask, value, torch.inf).amin(dim=1)
        return Estimate(value, torch.zeros_like(value))

    def log_mass(self, low: Tensor, high: Tensor) -> Estimate:
        return self._log_mass(self._end(low), self._end(high))

    def cdf(self, y: Tensor) -> Tensor:
        return self.latent.cdf(self._end(y))

    def quantile(self, probabilities: Tensor) -> Tensor:
        return self._climbed(self.latent.quantile(probabilities))

    def _climbed(self, z: Tensor) -> Tensor:
        return self.lowest + self.jump * torch.searchsorted(self.edges_E, z.contiguous(), right=True)

    def _end(self, y: Tensor) -> Tensor:
        """The latent value below which the staircase is at most at `y`."""
        ends = torch.nn.functional.pad(self.edges_E, (1, 1), value=FAR)
        ends[0] = -FAR
        steps = ((y.double() - self.lowest) / self.jump + 1e-6).floor().long()  # a value itself counts, if rounded
        return ends[(steps + 1).clamp(0, len(ends) - 1)]

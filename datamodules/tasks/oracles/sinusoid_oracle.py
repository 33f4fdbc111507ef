"""The oracle of `Sinusoid` with noise of standard deviation share * A, a mixture over weighted draws of (A, f, phi).

Letters: B tasks, N support points, S draws, Q query points.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from modules.contracts import Estimate, GaussianMixture, check_joint

from .sine_draws import SineDraws, SineTasks, posterior_draws, prior_draws

DRAWS_PER_SAMPLE = 4
"""Each component is as narrow as the noise, so that a smooth density takes many."""


class SinusoidOracle(GaussianMixture):
    """At each query a Gaussian for each draw. Densities of all queries together come from draws of their own.

    Components are narrow, so that `log_prob` of 1000 samples is too low in the mean: by 0.07 nats with one support
    point, 0.02 with none or two, 0.003 with three. `joint_log_prob` has no such bias.

    Args:
        tasks: The support and the family.
        query_x_BQ1: Inputs.
        num_samples: Draws are a few times as many.
        generator: Their source.
    """

    def __init__(self, tasks: SineTasks, query_x_BQ1: Tensor, *, num_samples: int, generator: Generator | None) -> None:
        self._tasks = tasks
        self._query_x_BQ = query_x_BQ1[..., 0].double()
        self._num_draws = DRAWS_PER_SAMPLE * num_samples
        self._support = _draws(tasks, self._num_draws, generator)
        self._seed = int(torch.randint(2**31, (), generator=generator, device=query_x_BQ1.device))
        f_SB, a_SB, b_SB, log_weights_SB = (value.T for value in self._support)
        angle_SBQ = f_SB[..., None] * self._query_x_BQ
        means_SBQ = a_SB[..., None] * angle_SBQ.sin() + b_SB[..., None] * angle_SBQ.cos()
        variances_SB11 = (tasks.share**2 * (a_SB**2 + b_SB**2))[..., None, None]
        super().__init__(means_SBQ[..., None], variances_SB11, log_weights_SB, sampled=True)

    def joint_log_prob(self, y: Tensor, mask: Tensor | None = None) -> Estimate:
        """The evidence of support and queries by that of the support.

        The mixture itself says little where the support leaves much open: no draw comes near all targets.
        """
        check_joint(y.shape[1])
        support, keep_BQ = self._tasks, torch.ones_like(self._query_x_BQ) if mask is None else mask.double()
        everything = support._replace(
            x_BN=torch.cat([support.x_BN, self._query_x_BQ], dim=1),
            y_BN=torch.cat([support.y_BN, y[..., 0].double() * keep_BQ], dim=1),
            mask_BN=torch.cat([support.mask_BN, keep_BQ], dim=1),
        )
        generator = Generator(y.device).manual_seed(self._seed)  # the same answer each time
        together = _draws(everything, self._num_draws, generator).log_evidence()
        alone = self._support.log_evidence()
        return Estimate(together.value - alone.value, (together.error**2 + alone.error**2).sqrt())


def _draws(tasks: SineTasks, num_draws: int, generator: Generator | None) -> SineDraws:
    prior, posterior = (draws(tasks, num_draws, generator) for draws in (prior_draws, posterior_draws))
    told_B1 = tasks.mask_BN.sum(dim=1, keepdim=True) > 0
    return SineDraws(*(torch.where(told_B1, given, free) for free, given in zip(prior, posterior, strict=True)))

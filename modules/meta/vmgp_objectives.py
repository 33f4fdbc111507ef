"""What training of VMGP minimises: each a loss of every task, in nats.

Letters: B tasks, M points, Q query points, Y target width, J latents, S samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from .latent_posterior import LabelledPoints, LatentPosterior
from .latent_prior import LatentPrior

Likelihood = Callable[[Tensor, LabelledPoints], Tensor]
"""log p(y | z) of latents [S, B, M, J] and points, [S, B, M]; 0 for filler."""


def negative_elbo(
    prior: LatentPrior,
    posterior: LatentPosterior,
    likelihood: Likelihood,
    points: LabelledPoints,
    num_draws: int,
    generator: Generator | None,
) -> Tensor:
    """KL(q || p) - E_q log p(Y | Z), [B], by reparameterised draws."""
    q = posterior.marginals(prior, points)
    return q.divergence_B - likelihood(q.draw(num_draws, generator), points).sum(dim=-1).mean(dim=0)


def negative_importance_bound(
    prior: LatentPrior,
    posterior: LatentPosterior,
    likelihood: Likelihood,
    points: LabelledPoints,
    num_draws: int,
    generator: Generator | None,
) -> Tensor:
    """-log 1/S sum_s p(Y | Z_s) p(Z_s) / q(Z_s), [B] (IWAE, arXiv:1509.00519): tighter than the ELBO for S > 1."""
    draws = posterior.weighted_draws(prior, points, num_draws, generator)
    logs_SB = likelihood(draws.latents_SBMJ, points).sum(dim=-1) + draws.log_ratio
    return math.log(num_draws) - logs_SB.logsumexp(dim=0)


def negative_query_likelihood(
    prior: LatentPrior,
    posterior: LatentPosterior,
    likelihood: Likelihood,
    support: LabelledPoints,
    queries: LabelledPoints,
    num_draws: int,
    generator: Generator | None,
) -> Tensor:
    """-sum_q log 1/S sum_s p(y_q | z_q^s) p(z_q^s | support) / q(z_q^s), [B]: each query's predictive density.

    Trains q as it is used, on the support alone. The draws come from a q that also sees the query's label: draws from
    p(z_q | support) would rarely hit a peak of a sharp likelihood, and the log of a mean of few would punish sharpness.
    """
    draws = posterior.weighted_query_draws(prior, support, queries, num_draws, generator)
    logs_SBQ = likelihood(draws.latents_SBMJ, queries) + draws.log_ratio
    return torch.where(queries.mask, math.log(num_draws) - logs_SBQ.logsumexp(dim=0), 0.0).sum(dim=-1)

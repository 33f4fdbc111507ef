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
    logs_SB = likelihood(draws.latents_SBMJ, points).sum(dim=-1) + draws.log_ratio_SB
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
    """-log 1/S sum_s prod_q p(y_q | z_q^s), [B], with joint draws of the latents given the support.

    Trains q as it is used: on the support alone.
    """
    draw = posterior.at_queries(prior, support, queries.x, joint=True)
    logs_SB = likelihood(draw(num_draws, generator), queries).sum(dim=-1)
    return math.log(num_draws) - torch.logsumexp(logs_SB, dim=0)

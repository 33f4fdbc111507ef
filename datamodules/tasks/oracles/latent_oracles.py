"""Oracles of `LatentFunction`: what is known of z at the support, then z at the queries, then y.

Letters: E edges, P patterns, B tasks, N support points, Q query points, X input width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from modules.contracts import Estimate, Predictive, log_mean

from ..transforms import Absolute, Floor, Identity, Sign, Square
from .folded import Folded
from .latent_gp import LatentGp
from .sign_patterns import sign_patterns
from .staircase import Staircase
from .truncated import truncated_draws

if TYPE_CHECKING:
    from ..latent_functions import LatentFunction


def latent_oracle(
    tasks: LatentFunction,
    support_x_BNX: Tensor,
    support_y_BN1: Tensor,
    mask_BN: Tensor,
    query_x_BQX: Tensor,
    *,
    num_samples: int,
    generator: Generator | None,
) -> Predictive | None:
    """The Bayes-optimal predictive, or None where it is not known.

    It is an exact Gaussian process for the identity, with noise or without; weighted draws for floor and sign; and a
    sum over sign patterns for |z| and z^2, the last four of one latent and without noise.

    Args:
        tasks: The family.
        support_x_BNX: Inputs.
        support_y_BN1: Targets.
        mask_BN: bool, which support points are real.
        query_x_BQX: Inputs.
        num_samples: Draws, where there are some.
        generator: Their source.
    """

    latent = partial(
        LatentGp,
        lengthscale=tasks.lengthscale,
        variance=tasks.variance * tasks.latent_dim,  # of the sum of all latents
        noise_variance=tasks.noise_sd**2,
    )
    known = latent, support_x_BNX, support_y_BN1, mask_BN, query_x_BQX
    transform = tasks.transform
    if isinstance(transform, Identity):
        return latent(support_x_BNX, mask_BN, query_x_BQX).given(support_y_BN1[None, ..., 0].double())
    if tasks.latent_dim > 1 or tasks.noise_sd:
        return None
    if isinstance(transform, Sign):
        return staircase(*known, query_x_BQX.new_zeros(1), -1.0, 2.0, num_samples, generator)
    if isinstance(transform, Floor):
        end = math.ceil(9 * tasks.variance**0.5)
        edges_E, lowest = torch.arange(-end, end + 1, device=query_x_BQX.device), -transform.step * (end + 1)
        return staircase(*known, edges_E, lowest, transform.step, num_samples, generator)
    if isinstance(transform, (Absolute, Square)):
        power = 2 if isinstance(transform, Square) else 1
        return folded(latent, support_x_BNX, support_y_BN1[..., 0], mask_BN, query_x_BQX, power)
    return None


def folded(
    latent: Callable[[Tensor, Tensor, Tensor], LatentGp],
    support_x_BNX: Tensor,
    support_y_BN: Tensor,
    mask_BN: Tensor,
    query_x_BQX: Tensor,
    power: int,
) -> Folded:
    """z is known at the support up to its signs. `latent` makes the process from support, mask and queries."""
    gp = latent(support_x_BNX, mask_BN, query_x_BQX)
    root_BN = support_y_BN.double().clamp(min=0) ** (1 / power)
    values_PBN, support_logs_PB = sign_patterns(gp.covariance_BNN, root_BN, mask_BN, support_x_BNX[..., 0])

    def joint_log_prob(root_BQ: Tensor, asked_BQ: Tensor) -> Tensor:
        x_BMX, real_BM = torch.cat([support_x_BNX, query_x_BQX], dim=1), torch.cat([mask_BN, asked_BQ], dim=1)
        everything = latent(x_BMX, real_BM, x_BMX[:, :0])
        logs_PB = sign_patterns(everything.covariance_BNN, torch.cat([root_BN, root_BQ], 1), real_BM, x_BMX[..., 0])[1]
        return logs_PB.logsumexp(dim=0) - support_logs_PB.logsumexp(dim=0)

    return Folded(gp.given(values_PBN, support_logs_PB), power, joint_log_prob=joint_log_prob)


def staircase(
    latent: Callable[[Tensor, Tensor, Tensor], LatentGp],
    support_x_BNX: Tensor,
    support_y_BN1: Tensor,
    mask_BN: Tensor,
    query_x_BQX: Tensor,
    edges_E: Tensor,
    lowest: float,
    jump: float,
    num_samples: int,
    generator: Generator | None,
) -> Staircase:
    """z lies between two edges at each support point: weighted draws of it there. See `Staircase` for the arguments.

    What a query's step adds is a box of one more dimension: the ratio of both probabilities keeps its digits where a
    query lies beside the support, on the other side of an edge, and hardly any draw of the support alone reaches it.
    """
    gp = latent(support_x_BNX, mask_BN, query_x_BQX)
    ends = torch.nn.functional.pad(edges_E.double(), (1, 1), value=gp.far)
    ends[0] = -gp.far
    step_BN = ((support_y_BN1[..., 0].double() - lowest) / jump).round().long().clamp(0, len(edges_E))
    low_BN = torch.where(mask_BN, ends[step_BN], -gp.far)
    high_BN = torch.where(mask_BN, ends[step_BN + 1], gp.far)
    draws_SBN, log_weights_SB = truncated_draws(gp.covariance_BNN, low_BN, high_BN, num_samples, generator)
    support = log_mean(log_weights_SB)
    seed = int(torch.randint(2**31, (), generator=generator, device=query_x_BQX.device))

    def log_mass_of(low_BQ1: Tensor, high_BQ1: Tensor) -> Estimate:
        again = Generator(low_BQ1.device).manual_seed(seed)  # the same answer each time
        boxes = [_with_query(q, low_BQ1[:, q], high_BQ1[:, q], again) for q in range(query_x_BQX.shape[1])]
        value_BQ, error_BQ = (torch.stack(part, dim=1) for part in zip(*boxes, strict=True))
        value_BQ = (value_BQ - support.value[:, None]).clamp(max=0)
        return Estimate(value_BQ, (error_BQ.square() + support.error[:, None].square()).sqrt())

    def _with_query(q: int, low_B1: Tensor, high_B1: Tensor, generator: Generator) -> Estimate:
        """Log probability that z at the support and at query `q` lies in its box."""
        x_BMX = torch.cat([support_x_BNX, query_x_BQX[:, q, None]], dim=1)
        both = latent(x_BMX, torch.nn.functional.pad(mask_BN, (0, 1), value=True), x_BMX[:, :0])
        low_BM, high_BM = torch.cat([low_BN, low_B1], dim=1), torch.cat([high_BN, high_B1], dim=1)
        return log_mean(truncated_draws(both.covariance_BNN, low_BM, high_BM, num_samples, generator)[1])

    predicted = gp.given(draws_SBN, log_weights_SB, sampled=True)
    return Staircase(predicted, edges_E, lowest=lowest, jump=jump, log_mass=log_mass_of)

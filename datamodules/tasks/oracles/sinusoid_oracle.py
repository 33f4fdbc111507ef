"""The oracle of `Sinusoid` with noise of standard deviation share * A: weighted draws of (A, f, phi).

Draws from the prior would be lost, as the noise is 1 % of A. With a = A cos phi and b = A sin phi the task is linear
given f: y = a sin(f x) + b cos(f x) + noise. So f is drawn from a fine grid on which (a, b) is integrated out, then
(a, b) from a Gaussian, and importance weights make up for what is not Gaussian. With fewer than two points (A, f, phi)
is drawn from the prior, but A from what the point says.

Letters: B tasks, N support points, G cells of the grid, S draws, Q query points.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from modules.contracts import GaussianMixture

from ..draws import Range

CELL = 4e-4
"""Width of a cell of the grid over f, a fraction of what 1 % of noise leaves open."""
MAX_CELLS = 2**15
WIDENED = 1.2
"""Proposals are wider than the posterior is thought to be, so that weights are bounded."""
DRAWS_PER_SAMPLE = 4
"""Each component is as narrow as the noise, so that a smooth density takes many."""


class SineTasks(NamedTuple):
    """What the oracle knows of the family, and of B tasks.

    Attributes:
        x_BN: Inputs, float64.
        y_BN: Targets, 0 for filler.
        mask_BN: 1.0 for real support points, 0.0 for filler.
        amplitude: Range of A.
        frequency: Range of f.
        phase: Range of phi.
        share: Standard deviation of the noise in units of A.
    """

    x_BN: Tensor
    y_BN: Tensor
    mask_BN: Tensor
    amplitude: Range
    frequency: Range
    phase: Range
    share: float


class Proposal(NamedTuple):
    """Gaussian of (a, b) given some f, all [B, G]; its covariance has the Cholesky factor ((p, 0), (q, r)).

    Attributes:
        a: Mean of a.
        b: Mean of b.
        p: Standard deviation of a.
        q: Covariance by it.
        r: What b has of its own.
        log_evidence: Of the targets given f, about.
    """

    a: Tensor
    b: Tensor
    p: Tensor
    q: Tensor
    r: Tensor
    log_evidence: Tensor


def sinusoid_oracle(
    tasks: SineTasks, query_x_BQ1: Tensor, *, num_samples: int, generator: Generator | None
) -> GaussianMixture:
    """The predictive at the queries, a mixture over weighted draws.

    Args:
        tasks: The support and the family.
        query_x_BQ1: Inputs.
        num_samples: Draws are a few times as many.
        generator: Their source.
    """
    num_draws = DRAWS_PER_SAMPLE * num_samples
    few_B = tasks.mask_BN.sum(dim=1) < 2
    f_SB, a_SB, b_SB, log_weights_SB = (
        torch.where(few_B, few, many)
        for few, many in zip(
            _from_prior(tasks, num_draws, generator), _from_grid(tasks, num_draws, generator), strict=True
        )
    )
    angle_SBQ = f_SB[..., None] * query_x_BQ1[..., 0].double()
    means_SBQ = a_SB[..., None] * angle_SBQ.sin() + b_SB[..., None] * angle_SBQ.cos()
    variances_SB11 = (tasks.share**2 * (a_SB**2 + b_SB**2))[..., None, None]
    return GaussianMixture(means_SBQ[..., None], variances_SB11, log_weights_SB, sampled=True)


def _from_prior(tasks: SineTasks, num_draws: int, generator: Generator | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draws (f, a, b) and log weights [S, B] for at most one real point, y = A (sin(f x + phi) + share * e).

    With f, phi and e from their distributions, A is what the point then says; its weight is its prior density times
    A / |y|, from the change of variables.
    """
    shape = (num_draws, len(tasks.x_BN))
    f_SB, phi_SB, free_SB = (
        low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)
        for low, high in (tasks.frequency, tasks.phase, tasks.amplitude)
    )
    noise_SB = tasks.share * torch.randn(shape, generator=generator, dtype=torch.float64)
    x_B, y_B = (tasks.x_BN * tasks.mask_BN).sum(dim=1), (tasks.y_BN * tasks.mask_BN).sum(dim=1)
    told_SB = y_B / ((f_SB * x_B + phi_SB).sin() + noise_SB)
    seen_B = tasks.mask_BN.sum(dim=1) > 0
    amplitude_SB = torch.where(seen_B, told_SB, free_SB)
    inside_SB = (amplitude_SB >= tasks.amplitude[0]) & (amplitude_SB <= tasks.amplitude[1])
    log_weights_SB = torch.where(seen_B, amplitude_SB.abs().log(), 0.0).masked_fill(~inside_SB, -torch.inf)
    return f_SB, amplitude_SB * phi_SB.cos(), amplitude_SB * phi_SB.sin(), log_weights_SB


def _from_grid(tasks: SineTasks, num_draws: int, generator: Generator | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draws (f, a, b) and log weights [S, B] for at least two real points."""
    low, high = tasks.frequency
    num_cells = min(MAX_CELLS, max(1, math.ceil((high - low) / CELL)))
    width = (high - low) / num_cells
    centres_G = low + width * (torch.arange(num_cells, dtype=torch.float64) + 0.5)
    evidence_BG = _proposal(tasks, centres_G.expand(len(tasks.x_BN), -1)).log_evidence
    evidence_BG = torch.nn.functional.max_pool1d(evidence_BG[:, None], 3, stride=1, padding=1)[:, 0]
    shares_BG = 0.98 * evidence_BG.softmax(dim=1) + 0.02 / num_cells
    cell_BS = torch.multinomial(shares_BG, num_draws, replacement=True, generator=generator)
    jitter_BS = torch.rand(cell_BS.shape, generator=generator, dtype=torch.float64) - 0.5
    f_BS = centres_G[cell_BS] + width * jitter_BS
    given = _proposal(tasks, f_BS)
    u_BS, v_BS = torch.randn((2, *cell_BS.shape), generator=generator, dtype=torch.float64)
    a_BS, b_BS = given.a + given.p * u_BS, given.b + given.q * u_BS + given.r * v_BS
    log_proposal_BS = -0.5 * (u_BS**2 + v_BS**2) - (given.p * given.r).log() + shares_BG.gather(1, cell_BS).log()
    log_weights_BS = _log_posterior(tasks, f_BS, a_BS, b_BS) - log_proposal_BS
    return f_BS.T, a_BS.T, b_BS.T, log_weights_BS.T


def _log_posterior(tasks: SineTasks, f_BS: Tensor, a_BS: Tensor, b_BS: Tensor) -> Tensor:
    """Log density of (f, a, b) and the targets, up to a constant: A and phi are uniform, so that (a, b) has 1 / A."""
    amplitude_BS = (a_BS**2 + b_BS**2).sqrt()
    phase_BS = torch.atan2(b_BS, a_BS)
    turned_BS = (phase_BS - tasks.phase[0]) % (2 * math.pi) <= tasks.phase[1] - tasks.phase[0]
    inside_BS = (amplitude_BS >= tasks.amplitude[0]) & (amplitude_BS <= tasks.amplitude[1]) & turned_BS
    angle_BSN = f_BS[..., None] * tasks.x_BN[:, None]
    wave_BSN = a_BS[..., None] * angle_BSN.sin() + b_BS[..., None] * angle_BSN.cos()
    squares_BS = ((tasks.y_BN[:, None] - wave_BSN).square() * tasks.mask_BN[:, None]).sum(dim=-1)
    squares_BS = squares_BS / (tasks.share * amplitude_BS) ** 2
    num_points_B1 = tasks.mask_BN.sum(dim=1, keepdim=True)
    return (-0.5 * squares_BS - (num_points_B1 + 1) * amplitude_BS.log()).masked_fill(~inside_BS, -torch.inf)


def _proposal(tasks: SineTasks, f_BG: Tensor) -> Proposal:
    """Ridge regression of the targets on sine and cosine, with the noise that its own A says."""
    lowest, highest = tasks.amplitude
    angle_BGN = f_BG[..., None] * tasks.x_BN[:, None]
    sine_BGN, cosine_BGN = angle_BGN.sin() * tasks.mask_BN[:, None], angle_BGN.cos() * tasks.mask_BN[:, None]
    ss, sc, cc = (sine_BGN**2).sum(dim=-1), (sine_BGN * cosine_BGN).sum(dim=-1), (cosine_BGN**2).sum(dim=-1)
    ys, yc = (torch.einsum("bgn,bn->bg", wave, tasks.y_BN * tasks.mask_BN) for wave in (sine_BGN, cosine_BGN))
    yy_B1, num_points_B1 = ((tasks.y_BN**2 * tasks.mask_BN).sum(1, True), tasks.mask_BN.sum(1, True))
    amplitude = (2 * yy_B1 / num_points_B1.clamp(min=1)).sqrt().expand_as(ss)
    for _ in range(3):
        noise = (WIDENED * tasks.share * amplitude.clamp(lowest, highest)).square()
        ridge = noise / highest**2
        determinant = (ss + ridge) * (cc + ridge) - sc**2
        a = ((cc + ridge) * ys - sc * yc) / determinant
        b = ((ss + ridge) * yc - sc * ys) / determinant
        amplitude = (a**2 + b**2).sqrt()
    residual = (yy_B1 - a * ys - b * yc) / noise
    prior = -amplitude.clamp(min=lowest).log() + 0.5 * (amplitude / highest) ** 2
    outside = (amplitude / highest - 1.1).clamp(min=0) + (lowest / amplitude.clamp(min=1e-12) - 1.3).clamp(0, 100)
    fit = -0.5 * residual - 0.5 * (num_points_B1 - 2) * noise.log() - 0.5 * determinant.log()
    p = (noise * (cc + ridge) / determinant).sqrt()
    q = -noise * sc / determinant / p
    r = (noise * (ss + ridge) / determinant - q**2).clamp(min=1e-18).sqrt()
    return Proposal(a, b, p, q, r, fit + prior - 50 * outside)

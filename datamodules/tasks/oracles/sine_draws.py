"""Weighted draws of the amplitude, frequency and phase of sinusoids from what some noisy points say.

Draws from the prior would be lost, as the noise is 1 % of A. With a = A cos phi and b = A sin phi the task is linear
given f: y = a sin(f x) + b cos(f x) + noise. So f is drawn from a fine grid on which (a, b) is integrated out, then
(a, b) from a Gaussian, and importance weights make up for what is not Gaussian. As the noise grows with A, all of this
is done for one interval of A at a time.

Letters: B tasks, N points, G cells of the grid over f, K intervals of A, C cells of both, S draws.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from modules.contracts import Estimate, log_mean

from ..draws import Range

CELL = 4e-4
"""Width of a cell of the grid over f, a fraction of what 1 % of noise leaves open."""
MAX_CELLS = 2**15
MAX_INTERVALS = 3
WIDEST = 50.0
"""Ratio of the ends of all intervals together; the lowest reaches down to 0 where A does."""
WIDENED = 1.2
"""Proposals are wider than the posterior is thought to be, so that weights are bounded."""


class SineTasks(NamedTuple):
    """What the oracle knows of the family, and of B tasks.

    Attributes:
        x_BN: Inputs, float64.
        y_BN: Targets, 0 for filler.
        mask_BN: 1.0 for real points, 0.0 for filler.
        amplitude: Range of A, not a single value.
        frequency: Range of f.
        phase: Range of phi, not a single value.
        share: Standard deviation of the noise in units of A.
    """

    x_BN: Tensor
    y_BN: Tensor
    mask_BN: Tensor
    amplitude: Range
    frequency: Range
    phase: Range
    share: float


class SineDraws(NamedTuple):
    """Weighted draws, all [B, S].

    Attributes:
        f: Frequencies.
        a: A cos phi.
        b: A sin phi.
        log_weights: Log of how much likelier a draw and the points are than the draw was; its mean in the box is the
            log density of the points.
    """

    f: Tensor
    a: Tensor
    b: Tensor
    log_weights: Tensor

    def log_evidence(self) -> Estimate:
        """Log density of the points of each task, [B], with its Monte-Carlo error."""
        value, error = log_mean(self.log_weights.T)
        return Estimate(value, error.nan_to_num(torch.inf))  # nan where no draw agrees with the points


class _Moments(NamedTuple):
    """Sums over the points of a task at some frequency: of sin^2, sin cos, cos^2, y sin, y cos and y^2."""

    ss: Tensor
    sc: Tensor
    cc: Tensor
    ys: Tensor
    yc: Tensor
    yy: Tensor


class _Proposal(NamedTuple):
    """Gaussian of (a, b) given f and the interval of A; its covariance has the Cholesky factor ((p, 0), (q, r)).

    Attributes:
        a: Mean of a.
        b: Mean of b.
        p: Standard deviation of a.
        q: Covariance by it.
        r: What b has of its own.
        log_evidence: Of the targets given both, about, up to a constant.
    """

    a: Tensor
    b: Tensor
    p: Tensor
    q: Tensor
    r: Tensor
    log_evidence: Tensor


def prior_draws(tasks: SineTasks, num_draws: int, generator: Generator | None) -> SineDraws:
    """Draws that the points have no say in."""
    options: dict[str, Any] = {"generator": generator, "dtype": torch.float64, "device": tasks.x_BN.device}
    f_BS, amplitude_BS, phase_BS = (
        low + (high - low) * torch.rand((len(tasks.x_BN), num_draws), **options)
        for low, high in (tasks.frequency, tasks.amplitude, tasks.phase)
    )
    return SineDraws(f_BS, amplitude_BS * phase_BS.cos(), amplitude_BS * phase_BS.sin(), torch.zeros_like(f_BS))


def posterior_draws(tasks: SineTasks, num_draws: int, generator: Generator | None) -> SineDraws:
    """Draws given the points, of which each task has at least one."""
    low, high = tasks.frequency
    num_cells = min(MAX_CELLS, max(1, math.ceil((high - low) / CELL)))
    width = (high - low) / num_cells
    options: dict[str, Any] = {"dtype": torch.float64, "device": tasks.x_BN.device}
    centres_G = low + width * (torch.arange(num_cells, **options) + 0.5)
    edges_K = tasks.x_BN.new_tensor(_intervals(tasks.amplitude))
    moments = _moments(tasks, centres_G.expand(len(tasks.x_BN), -1))
    logs = [_proposal(tasks, moments, *ends).log_evidence for ends in itertools.pairwise(edges_K)]
    logs_BKG = torch.nn.functional.max_pool1d(torch.stack(logs, dim=1), 3, stride=1, padding=1)
    shares_BC = 0.98 * logs_BKG.flatten(1).softmax(dim=1) + 0.02 / logs_BKG[0].numel()
    cell_BS = torch.multinomial(shares_BC, num_draws, replacement=True, generator=generator)
    jitter_BS = torch.rand(cell_BS.shape, generator=generator, **options) - 0.5
    f_BS = centres_G[cell_BS % num_cells] + width * jitter_BS
    interval_BS = cell_BS // num_cells
    lowest_BS, highest_BS = edges_K[:-1][interval_BS], edges_K[1:][interval_BS]
    given = _proposal(tasks, _moments(tasks, f_BS), lowest_BS, highest_BS)
    u_BS, v_BS = torch.randn((2, *cell_BS.shape), generator=generator, **options)
    a_BS, b_BS = given.a + given.p * u_BS, given.b + given.q * u_BS + given.r * v_BS
    drawn_BS = -0.5 * (u_BS**2 + v_BS**2) - (2 * math.pi * given.p * given.r).log()
    drawn_BS += (shares_BC.gather(1, cell_BS) * num_cells).log()  # f as a share of its range
    amplitude_BS = (a_BS**2 + b_BS**2).sqrt()
    here_BS = (amplitude_BS >= lowest_BS) & (amplitude_BS <= highest_BS)
    log_weights_BS = (_log_joint(tasks, f_BS, a_BS, b_BS) - drawn_BS).masked_fill(~here_BS, -torch.inf)
    return SineDraws(f_BS, a_BS, b_BS, log_weights_BS)


def _intervals(amplitude: Range) -> list[float]:
    """Edges of the intervals of A, a factor of two to four apart."""
    low, high = amplitude
    floor = max(low, high / WIDEST)
    number = min(MAX_INTERVALS, math.ceil(math.log2(high / floor)))
    inner = [floor * (high / floor) ** (k / number) for k in range(1, number)]
    return [low, *inner, high]


def _log_joint(tasks: SineTasks, f_BS: Tensor, a_BS: Tensor, b_BS: Tensor) -> Tensor:
    """Log density of (f, a, b) and the targets, f as a share of its range; A and phi are uniform: (a, b) has 1 / A."""
    amplitude_BS = (a_BS**2 + b_BS**2).sqrt()
    turned_BS = (torch.atan2(b_BS, a_BS) - tasks.phase[0]) % (2 * math.pi)
    angle_BSN = f_BS[..., None] * tasks.x_BN[:, None]
    wave_BSN = a_BS[..., None] * angle_BSN.sin() + b_BS[..., None] * angle_BSN.cos()
    squares_BS = ((tasks.y_BN[:, None] - wave_BSN).square() * tasks.mask_BN[:, None]).sum(dim=-1)
    sd_BS = tasks.share * amplitude_BS
    num_points_B1 = tasks.mask_BN.sum(dim=1, keepdim=True)
    area = (tasks.amplitude[1] - tasks.amplitude[0]) * (tasks.phase[1] - tasks.phase[0])
    logs_BS = -0.5 * squares_BS / sd_BS**2 - num_points_B1 * ((2 * math.pi) ** 0.5 * sd_BS).log()
    logs_BS = logs_BS - (amplitude_BS * area).log()
    return logs_BS.masked_fill(turned_BS > tasks.phase[1] - tasks.phase[0], -torch.inf)


def _moments(tasks: SineTasks, f_BG: Tensor) -> _Moments:
    angle_BGN = f_BG[..., None] * tasks.x_BN[:, None]
    sine_BGN, cosine_BGN = angle_BGN.sin() * tasks.mask_BN[:, None], angle_BGN.cos() * tasks.mask_BN[:, None]
    return _Moments(
        sine_BGN.square().sum(dim=-1),
        (sine_BGN * cosine_BGN).sum(dim=-1),
        cosine_BGN.square().sum(dim=-1),
        torch.einsum("bgn,bn->bg", sine_BGN, tasks.y_BN),
        torch.einsum("bgn,bn->bg", cosine_BGN, tasks.y_BN),
        (tasks.y_BN.square() * tasks.mask_BN).sum(dim=1, keepdim=True),
    )


def _proposal(tasks: SineTasks, of: _Moments, lowest: Tensor, highest: Tensor) -> _Proposal:
    """Ridge regression of the targets on sine and cosine, with the noise of the largest A that is still likely."""
    smallest = torch.maximum(lowest, 0.05 * highest)
    largest = highest
    for _ in range(4):
        noise = (WIDENED * tasks.share * largest).square()
        ridge = noise / highest**2
        determinant = (of.ss + ridge) * (of.cc + ridge) - of.sc**2
        a = ((of.cc + ridge) * of.ys - of.sc * of.yc) / determinant
        b = ((of.ss + ridge) * of.yc - of.sc * of.ys) / determinant
        amplitude = (a**2 + b**2).sqrt()
        reach = (noise * (of.ss + of.cc + 2 * ridge) / determinant).sqrt()
        largest = torch.minimum(torch.maximum(amplitude + reach, smallest), highest)
    p = (noise * (of.cc + ridge) / determinant).sqrt()
    q = -noise * of.sc / determinant / p
    r = (noise * (of.ss + ridge) / determinant - q**2).clamp(min=1e-18).sqrt()
    num_points_B1 = tasks.mask_BN.sum(dim=1, keepdim=True)
    fit = -0.5 * (of.yy - a * of.ys - b * of.yc) / noise - 0.5 * num_points_B1 * noise.log() + (p * r).log()
    inside = torch.minimum(torch.maximum(amplitude, smallest), highest)
    prior = 0.5 * (amplitude / highest) ** 2 - inside.log()  # 1 / A instead of the ridge
    outside = (amplitude - inside).abs() / (reach + 0.05 * highest)
    return _Proposal(a, b, p, q, r, fit + prior - 0.5 * outside**2)

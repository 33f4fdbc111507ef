"""Scores that need no more of a predictive distribution than draws from it. Lower is better everywhere.

Letters: S draws, B tasks, Q query points, Y target width, D all targets of a task together (Q * Y).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

KDE_VARIANCE = 0.05
"""Of the kernel in the metric that VMGP (arXiv:2110.11044) reports, in squared units of the targets."""


def crps(samples_SBQ: Tensor, y_BQ: Tensor) -> Tensor:
    """Continuous ranked probability score, E|y_s - y| - E|y_s - y_t| / 2, in units of the targets.

    The fair form (Ferro 2014): its expectation is that of infinitely many draws. Sorting gives the sum over all pairs
    in O(S log S).

    Args:
        samples_SBQ: At least 2 independent draws; any dimensions after the first.
        y_BQ: Targets.

    Returns:
        [B, Q].
    """
    num_draws = _at_least_two(samples_SBQ)
    errors_SBQ = (samples_SBQ - y_BQ).sort(dim=0).values  # centred, so that the sums below keep their digits
    ranks_S = torch.arange(num_draws, dtype=errors_SBQ.dtype, device=errors_SBQ.device)
    pairs_S = (2 * ranks_S + 1 - num_draws) / (num_draws * (num_draws - 1))
    return errors_SBQ.abs().mean(dim=0) - torch.tensordot(pairs_S, errors_SBQ, dims=1)


def energy_score(samples_SBQY: Tensor, y_BQY: Tensor, mask_BQ: Tensor | None = None) -> Tensor:
    """Energy score of all targets of a task as one vector, in units of the targets; it feels wrong correlations.

    E||y_s - y|| - E||y_s - y_t|| / 2 (Gneiting and Raftery 2007, eq. 22), in the fair form. O(S^2) in time, so that a
    few hundred draws are right; O(S^2) in memory for one task at a time.

    Args:
        samples_SBQY: At least 2 joint draws.
        y_BQY: Targets.
        mask_BQ: bool, which queries count; None: all.

    Returns:
        [B].
    """
    num_draws = _at_least_two(samples_SBQY)
    errors_SBQY = samples_SBQY - y_BQY
    if mask_BQ is not None:
        errors_SBQY = torch.where(mask_BQ[..., None], errors_SBQY, 0.0)
    errors_BSD = errors_SBQY.flatten(start_dim=2).movedim(0, 1).contiguous()
    pairs_B = torch.stack([torch.nn.functional.pdist(errors_SD).sum() for errors_SD in errors_BSD])
    return errors_BSD.norm(dim=-1).mean(dim=-1) - pairs_B / (num_draws * (num_draws - 1))


def kde_nll(samples_SBQ: Tensor, y_BQ: Tensor, *, variance: float = KDE_VARIANCE) -> Tensor:
    """Negative log density of the targets under a Gaussian kernel density estimate from the draws, [B, Q], in nats.

    Biased high for few draws, by hundreds of nats where a rare mode has no draw.
    """
    logs_SBQ = -0.5 * (samples_SBQ - y_BQ).square() / variance
    log_norm = math.log(samples_SBQ.shape[0]) + 0.5 * math.log(2 * math.pi * variance)
    return log_norm - torch.logsumexp(logs_SBQ, dim=0)


def published_nll(samples_SBQ: Tensor, y_BQ: Tensor) -> Tensor:
    """What the public code of VMGP calls NLL, [B, Q]: `kde_nll` without the kernel's constant, hence never negative.

    It is higher by -log(2 pi 0.05) / 2 = 0.579. The paper takes 20 draws; see `kde_nll` for what that does.
    """
    return kde_nll(samples_SBQ, y_BQ) - 0.5 * math.log(2 * math.pi * KDE_VARIANCE)


def _at_least_two(samples: Tensor) -> int:
    if samples.shape[0] < 2:
        raise ValueError(f"a fair score needs at least 2 samples, not {samples.shape[0]}")
    return samples.shape[0]

"""All latent vectors that a vector of magnitudes may come from: |z| tells z up to N signs.

Letters: P patterns, B tasks, N points, X input width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .latent_gp import log_normal

MAX_PATTERNS = 1024
NEGLIGIBLE = -25.0
"""Log share of a pattern's density, to the likeliest one's, below which it is left out."""


def sign_patterns(
    covariance_BNN: Tensor, magnitude_BN: Tensor, mask_BN: Tensor, place_BN: Tensor
) -> tuple[Tensor, Tensor]:
    """Signed vectors z with |z| = magnitude, and their log densities under N(0, covariance).

    Exact for up to 10 points. With more, points are signed one after another and the 1024 likeliest beginnings kept:
    signs of close points hang together, so that in the order of the inputs few beginnings have any weight.

    Args:
        covariance_BNN: float64; that of filler must be independent of all.
        magnitude_BN: Not negative.
        mask_BN: bool, which points are real; filler has the value 0 in one pattern only.
        place_BN: An input of each point: they are signed in its order.

    Returns:
        z [P, B, N], and log densities [P, B], -inf where a pattern is none.
    """
    order_BN = torch.where(mask_BN, place_BN, torch.inf).argsort(dim=1, stable=True)
    index_BNN = order_BN[:, :, None].expand_as(covariance_BNN)
    sorted_BNN = covariance_BNN.gather(1, index_BNN).gather(2, index_BNN.mT)
    factor_BNN = torch.linalg.cholesky(sorted_BNN)
    magnitude_BN = (magnitude_BN * mask_BN).double().gather(1, order_BN)
    real_BN = mask_BN.gather(1, order_BN)
    num_tasks, num_points = magnitude_BN.shape
    values_PBN = magnitude_BN.new_zeros(1, num_tasks, num_points)
    whitened_PBN, logs_PB = torch.zeros_like(values_PBN), magnitude_BN.new_zeros(1, num_tasks)
    for k in range(num_points):
        values_PBN = torch.cat([values_PBN, values_PBN])
        whitened_PBN = torch.cat([whitened_PBN, whitened_PBN])
        half = len(logs_PB)
        values_PBN[:half, :, k], values_PBN[half:, :, k] = magnitude_BN[:, k], -magnitude_BN[:, k]
        mean_PB = torch.einsum("pbk,bk->pb", whitened_PBN[..., :k], factor_BNN[:, k, :k])
        whitened_PBN[..., k] = (values_PBN[..., k] - mean_PB) / factor_BNN[:, k, k]
        density_PB = log_normal(whitened_PBN[..., k]) - factor_BNN[:, k, k].log()
        logs_PB = torch.cat([logs_PB, logs_PB.masked_fill(~real_BN[:, k], -torch.inf)])
        logs_PB = logs_PB + torch.where(real_BN[:, k], density_PB, 0.0)
        values_PBN, whitened_PBN, logs_PB = _likeliest(values_PBN, whitened_PBN, logs_PB)
    num_matter = int((logs_PB > logs_PB.amax(dim=0) + NEGLIGIBLE).sum(dim=0).amax())
    values_PBN, _, logs_PB = _likeliest(values_PBN, whitened_PBN, logs_PB, num_matter)
    return values_PBN.gather(2, order_BN.argsort(dim=1).expand_as(values_PBN)), logs_PB


def _likeliest(
    values_PBN: Tensor, whitened_PBN: Tensor, logs_PB: Tensor, most: int = MAX_PATTERNS
) -> tuple[Tensor, Tensor, Tensor]:
    if len(logs_PB) <= most:
        return values_PBN, whitened_PBN, logs_PB
    logs_PB, best_PB = logs_PB.topk(most, dim=0)
    index_PBN = best_PB[..., None].expand(-1, -1, values_PBN.shape[-1])
    return values_PBN.gather(0, index_PBN), whitened_PBN.gather(0, index_PBN), logs_PB

"""Stein variational gradient descent (Liu and Wang 2016, arXiv:1608.04471) as a loss that any optimizer can take.

S particles x_s move along phi_s = mean over t of [k(x_t, x_s) grad log p(x_t) + gradient of k(x_t, x_s) by x_t]: the
first term takes all particles, in concert, to where p is high, the second drives them apart. Here each term is a
gradient of its own: of -mean_s log p(x_s) with the gradients of the particles mixed by the kernel on their way back,
and of the repulsion sum_st k(x_t, x_s) / 2S. The gradient of their sum is -phi. With one particle it is that of -log p.

Letters: S particles, P numbers in one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .kernels import squared_distances


def stein_particles(parameters: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """Particles to compute -mean log p with, and the repulsion to add to it.

    The kernel is exp(-|x_s - x_t|^2 / h) with h = median squared distance / log(S + 1), which no gradient passes.

    Args:
        parameters: Parts of the particles, each [S, ...]; together they are S vectors.

    Returns:
        The same parts, whose gradients will be mixed by the kernel, and the repulsion, a scalar.
    """
    flat_SP = torch.cat([part.flatten(1) for part in parameters.values()], dim=1)
    distances_SS = squared_distances(flat_SP, flat_SP)
    kernel_SS = torch.exp(-distances_SS / _bandwidth(distances_SS.detach()))
    mixed = {name: _MixGradient.apply(part, kernel_SS.detach()) for name, part in parameters.items()}
    return mixed, kernel_SS.sum() / (2 * len(kernel_SS))


def _bandwidth(distances_SS: Tensor) -> Tensor:
    num_particles = len(distances_SS)
    if num_particles == 1:
        return distances_SS.new_ones(())  # nothing to measure, and k(x, x) = 1 whatever it is
    row, column = torch.triu_indices(num_particles, num_particles, offset=1, device=distances_SS.device)
    median = distances_SS[row, column].median().clamp(min=torch.finfo(distances_SS.dtype).tiny)
    return median / math.log(num_particles + 1)


class _MixGradient(torch.autograd.Function):
    """The identity; on the way back, gradients [S, ...] become kernel_SS times themselves."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, kernel_SS: Tensor) -> Tensor:
        ctx.save_for_backward(kernel_SS)
        return part.view_as(part)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (kernel_SS,) = ctx.saved_tensors
        return torch.einsum("st,t...->s...", kernel_SS, gradients[0]), None

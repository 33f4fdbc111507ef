"""Stein variational gradient descent by its formula, and on a target that is known.

Letters: S particles, P numbers in one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from modules.meta.stein import stein_particles

LogDensity = Callable[[Tensor], Tensor]


def plain_direction(particles_SP: Tensor, log_density: LogDensity) -> Tensor:
    """phi of each particle, one pair after the other (arXiv:1608.04471, Eq. 8)."""
    num_particles = len(particles_SP)
    pairs = [(s, t) for s in range(num_particles) for t in range(s)]
    squares = torch.stack([(particles_SP[s] - particles_SP[t]).square().sum() for s, t in pairs])
    bandwidth = squares.median() / math.log(num_particles + 1)
    directions = []
    for s in range(num_particles):
        total = torch.zeros_like(particles_SP[s])
        for t in range(num_particles):
            other = particles_SP[t].clone().requires_grad_()
            kernel = torch.exp(-(other - particles_SP[s]).square().sum() / bandwidth)
            total += kernel.detach() * torch.autograd.grad(log_density(other), other)[0]
            total += torch.autograd.grad(kernel, other)[0]
        directions.append(total / num_particles)
    return torch.stack(directions)


def loss(parts: dict[str, Tensor], log_density: LogDensity) -> Tensor:
    mixed, repulsion = stein_particles(parts)
    flat_SP = torch.cat([part.flatten(1) for part in mixed.values()], dim=1)
    return repulsion - torch.stack([log_density(particle_P) for particle_P in flat_SP]).mean()


def banana(particle_P: Tensor) -> Tensor:
    """A log density whose gradient is different everywhere."""
    return -(particle_P[0] ** 2) - (particle_P[1] - particle_P[0] ** 2).square() - particle_P[2:].pow(4).sum()


def test_gradient_is_minus_the_direction_of_the_formula() -> None:
    torch.manual_seed(0)
    parts = {"a": torch.randn(5, 2, dtype=torch.float64), "b": torch.randn(5, 2, 3, dtype=torch.float64)}
    for part in parts.values():
        part.requires_grad_()
    gradients = torch.autograd.grad(loss(parts, banana), list(parts.values()))
    ours = torch.cat([gradient.flatten(1) for gradient in gradients], dim=1)
    particles_SP = torch.cat([part.detach().flatten(1) for part in parts.values()], dim=1)
    torch.testing.assert_close(-ours, plain_direction(particles_SP, banana), rtol=1e-12, atol=1e-12)


def test_one_particle_climbs_the_density() -> None:
    part = torch.tensor([[0.3, -0.2, 0.5]], dtype=torch.float64, requires_grad=True)
    (ours,) = torch.autograd.grad(loss({"a": part}, banana), part)
    (gradient,) = torch.autograd.grad(banana(part[0]), part)
    torch.testing.assert_close(-ours, gradient, rtol=1e-14, atol=1e-14)


def test_equal_particles_stay_finite() -> None:
    part = torch.ones(3, 2, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss({"a": part}, banana), part)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("num_dims", [1, 2])
def test_particles_reach_the_moments_of_a_gaussian(num_dims: int) -> None:
    torch.manual_seed(0)
    mean, sd = torch.tensor([2.0, -1.0])[:num_dims], torch.tensor([0.5, 1.5])[:num_dims]
    particles = (0.1 * torch.randn(30, num_dims)).requires_grad_()
    optimizer = torch.optim.Adam([particles], lr=0.1)
    for _ in range(250):
        optimizer.zero_grad()
        mixed, repulsion = stein_particles({"x": particles})
        (repulsion + 0.5 * ((mixed["x"] - mean) / sd).square().sum(dim=1).mean()).backward()
        optimizer.step()
    torch.testing.assert_close(particles.detach().mean(dim=0), mean, rtol=0, atol=0.1)
    torch.testing.assert_close(particles.detach().std(dim=0), sd, rtol=0.15, atol=0)

"""KL divergences, log ratios and draws of both posteriors beside dense Gaussians of torch.distributions (float64)."""

from __future__ import annotations

import pytest
import torch
from dense_vmgp import KINDS, dense, model, ragged_points
from torch.distributions import kl_divergence

from modules.meta.latent_posterior import LabelledPoints
from modules.meta.symmetric_matrices import eigenvectors, inverse_and_log_determinant


@pytest.mark.parametrize(("posterior", "covariance"), KINDS)
def test_divergence_and_its_gradient_equal_dense_gaussians(posterior: str, covariance: str) -> None:
    learner, points = model(posterior, covariance), ragged_points()
    ours = learner.posterior.marginals(learner.prior, points).divergence_B
    theirs = torch.stack([kl_divergence(*dense(learner, points, task)) for task in range(4)])
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    parameters = [*learner.prior.parameters(), *learner.posterior.parameters()]
    for mine, other in zip(
        torch.autograd.grad(ours.sum(), parameters), torch.autograd.grad(theirs.sum(), parameters), strict=True
    ):
        torch.testing.assert_close(mine, other, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(("posterior", "covariance"), KINDS)
def test_marginal_draws_have_the_moments_of_q(posterior: str, covariance: str) -> None:
    learner, points = model(posterior, covariance), ragged_points()
    generator = torch.Generator().manual_seed(0)
    draws = learner.posterior.marginals(learner.prior, points).draw(20_000, generator)[:, 0, points.mask[0]]
    q, _ = dense(learner, points, 0)
    centred = draws - q.mean.reshape(draws.shape[1:])
    sd = q.variance.sqrt().reshape(draws.shape[1:])
    assert (centred.mean(dim=0) / sd).abs().max() < 4.5 / 141
    blocks = torch.einsum("smj,smk->mjk", centred, centred) / len(draws)
    num_points, num_latents = draws.shape[1:]
    shaped = q.covariance_matrix.reshape(num_points, num_latents, num_points, num_latents)
    expected = torch.stack([shaped[point, :, point] for point in range(num_points)])
    assert ((blocks - expected) / (sd[:, :, None] * sd[:, None])).abs().max() < 0.06


@pytest.mark.parametrize(("posterior", "covariance"), KINDS)
def test_joint_draws_are_of_q_and_carry_its_log_ratio(posterior: str, covariance: str) -> None:
    learner, points = model(posterior, covariance), ragged_points()
    generator = torch.Generator().manual_seed(0)
    draws, log_ratios = learner.posterior.weighted_draws(learner.prior, points, 20_000, generator)
    for task in range(4):
        q, p = dense(learner, points, task)
        mine = draws[:, task, points.mask[task]].flatten(1)
        torch.testing.assert_close(log_ratios[:99, task], p.log_prob(mine[:99]) - q.log_prob(mine[:99]))
        white = torch.linalg.solve_triangular(q.scale_tril, (mine - q.mean).T, upper=False)
        assert white.mean(dim=1).abs().max() < 4.5 / 141
        assert (white.cov() - torch.eye(len(white))).abs().max() < 0.06


def test_inverse_and_log_determinant_have_exact_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    roots = torch.randn(2, 3, 3, generator=generator, dtype=torch.float64, requires_grad=True)

    def both(roots: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return inverse_and_log_determinant(roots @ roots.mT + torch.eye(3, dtype=torch.float64))

    matrices = roots @ roots.mT + torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(both(roots), (torch.linalg.inv(matrices), torch.logdet(matrices)))
    assert torch.autograd.gradcheck(both, (roots,))
    assert torch.autograd.gradgradcheck(both, (roots,))


def test_nearly_equal_eigenvalues_leave_the_gradient_right() -> None:
    learner, points = model("free", "kronecker"), ragged_points()
    with torch.no_grad():
        for latents in (learner.prior.latents, learner.posterior.latents):
            latents.raw_v_J.copy_(torch.tensor([0.0, 1e-6, -1e-6]))
            latents.raw_noise_J.fill_(0.0)
    parameters = [*learner.prior.latents.parameters(), *learner.posterior.latents.parameters()]
    ours = learner.posterior.marginals(learner.prior, points).divergence_B.sum()
    theirs = sum(kl_divergence(*dense(learner, points, task)) for task in range(4))
    for mine, other in zip(torch.autograd.grad(ours, parameters), torch.autograd.grad(theirs, parameters), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-6)


def test_equal_eigenvalues_leave_the_gradient_small_in_float32() -> None:
    """`torch.linalg.eigh` would give NaN or 1e8 times as much."""
    learner, points = model("free", "kronecker"), ragged_points()
    with torch.no_grad():
        for latents in (learner.prior.latents, learner.posterior.latents):
            latents.raw_v_J.fill_(0.0)
            latents.raw_noise_J.fill_(0.0)
    parameters = [*learner.prior.latents.parameters(), *learner.posterior.latents.parameters()]
    theirs = torch.autograd.grad(sum(kl_divergence(*dense(learner, points, t)) for t in range(4)), parameters)
    points = LabelledPoints(points.x.float(), points.y.float(), points.mask)
    ours = torch.autograd.grad(
        learner.float().posterior.marginals(learner.prior, points).divergence_B.sum(), parameters
    )
    largest = max(float(gradient.abs().max()) for gradient in theirs)
    assert all(float(gradient.abs().max()) < 3 * largest for gradient in ours)  # NaN is not


def test_eigenvectors_have_the_gradient_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    matrix = (root @ root.T).requires_grad_()
    weights = torch.randn(4, 5, generator=generator, dtype=torch.float64)

    def total(values: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        return (weights[:, 0] * values).sum() + (weights[:, 1:] * vectors.abs()).sum()  # signs are arbitrary

    ours, theirs = eigenvectors(matrix, precision=1e-16), torch.linalg.eigh(matrix)
    torch.testing.assert_close(ours, tuple(theirs), rtol=0, atol=0)
    gradients = [torch.autograd.grad(total(*both), matrix)[0] for both in (ours, theirs)]
    torch.testing.assert_close(*(gradient + gradient.T for gradient in gradients))

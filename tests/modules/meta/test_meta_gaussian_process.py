"""The shared GP algebra against dense linear algebra and GPyTorch, fillers and hard inputs included."""

from __future__ import annotations

import math

import gpytorch
import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from modules.meta.gaussian_process import (
    cholesky,
    condition,
    joint_covariance,
    log_marginal_likelihood,
    masked_covariance,
)
from modules.meta.kernels import DeepKernel, Rbf, inverse_softplus, squared_distances
from modules.meta.networks import MultilayerPerceptron

B, N, Q = 4, 6, 5
LENGTHSCALE = math.log(2)  # softplus of 0, which float32 holds exactly


def problem() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Kernel matrix of N + Q points, noise, targets and a ragged mask; the first N points are the support."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(B, N + Q, 2, generator=generator, dtype=torch.float64)
    kernel = 1.7 * Rbf(2, lengthscale=LENGTHSCALE).double()(x, x).detach()
    noise = 0.05 + torch.rand(B, N, generator=generator, dtype=torch.float64)
    y = torch.randn(B, N, generator=generator, dtype=torch.float64)
    mask = torch.arange(N) < torch.tensor([[6], [1], [4], [0]])
    return x, kernel, noise, y, mask


def exact(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def test_fillers_change_no_result() -> None:
    _, kernel, noise, y, mask = problem()
    support = kernel[:, :N, :N]
    factor = torch.linalg.cholesky(masked_covariance(support, noise, mask))
    cross = kernel[:, :N, N:] * mask[..., None]
    prior = kernel.diagonal(dim1=-2, dim2=-1)[:, N:]
    likelihood = log_marginal_likelihood(factor, y * mask, mask)
    posterior = condition(factor, cross, prior, y * mask)
    joint = joint_covariance(factor, cross, kernel[:, N:, N:])
    for task in range(B):
        n = int(mask[task].sum())
        covariance = masked_covariance(support[task, :n, :n], noise[task, :n], mask[task, :n])
        inverse, few = torch.linalg.inv(covariance), cross[task, :n]
        expected = MultivariateNormal(torch.zeros(n).double(), covariance).log_prob(y[task, :n]) if n else 0.0
        torch.testing.assert_close(likelihood[task].item(), float(expected), rtol=1e-10, atol=1e-10)
        mean, reduction = few.mT @ inverse @ y[task, :n], few.mT @ inverse @ few
        torch.testing.assert_close(posterior.mean_BQ[task], mean, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(
            posterior.variance_BQ[task], prior[task] - reduction.diagonal(), rtol=1e-9, atol=1e-9
        )
        torch.testing.assert_close(joint[task], kernel[task, N:, N:] - reduction, rtol=1e-9, atol=1e-9)


def test_the_posterior_is_that_of_gpytorch() -> None:
    x, kernel, _, y, _ = problem()

    class ExactGP(gpytorch.models.ExactGP):
        def __init__(self) -> None:
            likelihood = gpytorch.likelihoods.GaussianLikelihood()
            super().__init__(x[0, :N], y[0], likelihood)
            self.mean_module = gpytorch.means.ZeroMean()
            self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())

        def forward(self, points: Tensor) -> gpytorch.distributions.MultivariateNormal:
            return gpytorch.distributions.MultivariateNormal(self.mean_module(points), self.covar_module(points))

    theirs = ExactGP().double()
    theirs.covar_module.outputscale = exact(1.7)
    theirs.covar_module.base_kernel.lengthscale = exact(LENGTHSCALE)
    theirs.likelihood.noise = exact(0.3)
    theirs.eval()
    with torch.no_grad():
        expected = theirs(x[0, N:])
    mask = torch.ones(N, dtype=torch.bool)
    noise = torch.full((N,), 0.3).double() - 1.7e-6  # less the jitter, which GPyTorch does not add here
    factor = torch.linalg.cholesky(masked_covariance(kernel[0, :N, :N], noise, mask))
    ours = condition(factor, kernel[0, :N, N:], kernel[0].diagonal()[N:], y[0])
    torch.testing.assert_close(ours.mean_BQ, expected.mean, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(
        joint_covariance(factor, kernel[0, :N, N:], kernel[0, N:, N:]), expected.covariance_matrix, rtol=1e-8, atol=1e-8
    )
    torch.testing.assert_close(ours.variance_BQ, expected.variance, rtol=1e-8, atol=1e-8)


def test_distances_survive_a_large_offset() -> None:
    x = torch.randn(3, 8, 2, generator=torch.Generator().manual_seed(0))
    near = squared_distances(x, x)
    torch.testing.assert_close(near, torch.cdist(x, x).square(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(squared_distances(x + 500.0, x + 500.0), near, rtol=1e-3, atol=1e-3)  # x + 500 lost some
    assert near.diagonal(dim1=-2, dim2=-1).abs().max() < 1e-5


@pytest.mark.parametrize("spread", [0.0, 0.01, 1.0])
def test_hundreds_of_points_factorise(spread: float) -> None:
    """In float32, 1000 points within .01 of each other would need a hundred times the jitter."""
    x = spread * torch.randn(1, 1000, 1, generator=torch.Generator().manual_seed(0))
    kernel, mask = Rbf(1)(x, x).detach(), torch.ones(1, 1000, dtype=torch.bool)
    covariance = masked_covariance(kernel, torch.zeros(()), mask)
    factor = cholesky(covariance)
    torch.testing.assert_close(factor @ factor.mT, covariance, rtol=0, atol=1e-5)
    assert (covariance - kernel).diagonal(dim1=1, dim2=2).max() < 2e-5


@pytest.mark.parametrize("lengthscale", [0.2, 1.0, 5.0])
def test_clustered_points_factorise_in_float32(lengthscale: float) -> None:
    """512 sets of 50 points, many of them nearly or exactly equal, without any noise but the jitter."""
    x = torch.rand(512, 50, 1, generator=torch.Generator().manual_seed(0)) * 10 - 5
    x[:, 25:] = x[:, :25] + torch.randn(512, 25, 1) * 1e-4
    kernel = Rbf(1, lengthscale=lengthscale)(x, x).detach()
    mask = torch.ones(512, 50, dtype=torch.bool)
    _, info = torch.linalg.cholesky_ex(masked_covariance(kernel, torch.zeros(512, 50), mask))
    assert (info == 0).all()


def test_gradients_reach_every_parameter_of_a_deep_kernel() -> None:
    kernel = DeepKernel(MultilayerPerceptron(1, 3, layer_norm=True), Rbf(3)).double()
    x = torch.randn(2, 4, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: kernel(x, x + 0.1), x)
    kernel(x, x[:, :2] * 2).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in kernel.parameters())


def test_inverse_softplus() -> None:
    for value in (1e-4, 0.5, 3.0, 40.0):
        assert torch.nn.functional.softplus(torch.tensor(inverse_softplus(value)).double()).item() == pytest.approx(
            value
        )

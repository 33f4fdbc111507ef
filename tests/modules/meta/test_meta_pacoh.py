"""PACOH against densities of torch.distributions, loops over particles, and GPyTorch's exact GP.

The contract of learners (fillers, order, batches) is held in test_meta_contract.py.

Letters: S particles, B tasks, N support points, M points of a task, Q query points, X input width, Y target width.
"""

from __future__ import annotations

import math
from dataclasses import replace

import gpytorch
import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal
from torch.nn import functional as F

from modules.contracts import FewShotTasks, GaussianMixture
from modules.meta import MultilayerPerceptron, Pacoh
from modules.meta.gaussian_process import JITTER
from modules.meta.gp_particles import GaussianProcessParticles


def build(num_particles: int | None = 3, *, prior_factor: float = 0.2, dtype: torch.dtype = torch.float64) -> Pacoh:
    torch.manual_seed(0)
    learner = Pacoh(
        2,
        2,
        inference="map" if num_particles is None else "svgd",
        num_particles=num_particles,
        prior_factor=prior_factor,
        hidden_dims=(6, 5),
        feature_dim=3,
    )
    return learner.to(dtype)


def draw(num_tasks: int = 4, *, dtype: torch.dtype = torch.float64) -> FewShotTasks:
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    support_mask, query_mask = torch.ones(num_tasks, 5, dtype=torch.bool), torch.ones(num_tasks, 3, dtype=torch.bool)
    support_mask[0, 2:] = False
    support_mask[1] = False  # a task without support
    query_mask[2, 1] = False
    x, y = normal(num_tasks, 8, 2), normal(num_tasks, 8, 2)
    num_points = int(support_mask.sum() + query_mask.sum())
    return FewShotTasks(x[:, :5], y[:, :5], support_mask, x[:, 5:], y[:, 5:], query_mask, num_points)


def answer(learner: Pacoh, tasks: FewShotTasks) -> GaussianMixture:
    with torch.no_grad():
        return learner.predict(tasks.support_x, tasks.support_y, tasks.support_mask, tasks.query_x)


# One particle and one task, written plainly


def network(priors: GaussianProcessParticles, name: str, s: int, x: Tensor) -> Tensor:
    stack = getattr(priors, name)
    plain = MultilayerPerceptron(2, stack.weights[-1].shape[1], hidden_dims=(6, 5), activation=torch.nn.Tanh)
    weights = {
        f"{2 * layer}.{kind}": tensor[s]
        for layer, pair in enumerate(zip(stack.weights, stack.biases, strict=True))
        for kind, tensor in zip(("weight", "bias"), pair, strict=True)
    }
    return torch.func.functional_call(plain, weights, (x,))


def prior(priors: GaussianProcessParticles, s: int, y: int, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean [N], kernel [N, N] and noise of target dimension y."""
    features = network(priors, "features", s, x) / F.softplus(priors.raw_lengthscale_SF[s])
    kernel = torch.exp(-0.5 * (features[:, None] - features[None]).square().sum(dim=-1))
    scale = F.softplus(priors.raw_scale_SY[s, y])
    noise = F.softplus(priors.raw_noise_SY[s, y]) + 1e-3 + JITTER * scale
    return network(priors, "mean", s, x)[:, y], scale * kernel, noise


def plain_log_likelihood(priors: GaussianProcessParticles, s: int, x: Tensor, y: Tensor) -> Tensor:
    total = torch.zeros((), dtype=y.dtype)
    for dimension in range(y.shape[1]):
        mean, kernel, noise = prior(priors, s, dimension, x)
        total = total + MultivariateNormal(mean, kernel + torch.diag(noise.expand(len(x)))).log_prob(y[:, dimension])
    return total


def plain_log_hyper_prior(priors: GaussianProcessParticles, s: int) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for stack in (priors.mean, priors.features):
        total = total + sum(Normal(0.0, 0.5).log_prob(weight[s]).sum() for weight in stack.weights)
        total = total + sum(Normal(0.0, 3.0).log_prob(bias[s]).sum() for bias in stack.biases)
    total = total + Normal(0.0, 1.0).log_prob(priors.raw_lengthscale_SF[s]).sum()
    total = total + Normal(0.0, 1.0).log_prob(priors.raw_scale_SY[s]).sum()
    return total + Normal(-1.0, 1.0).log_prob(priors.raw_noise_SY[s]).sum()


def plain_terms(learner: Pacoh, tasks: FewShotTasks, s: int) -> tuple[Tensor, Tensor]:
    """Of one particle: log-likelihood per point, and the same with the hyper-prior, mean over tasks."""
    likelihoods, posteriors = [], []
    for x, y, mask in zip(*tasks.points(), strict=True):
        likelihood = plain_log_likelihood(learner.priors, s, x[mask], y[mask])
        hyper = learner.prior_factor * plain_log_hyper_prior(learner.priors, s)
        likelihoods.append(likelihood / mask.sum())
        posteriors.append((likelihood + hyper) / mask.sum())
    return torch.stack(likelihoods).mean(), torch.stack(posteriors).mean()


# Training


@pytest.mark.parametrize("num_particles", [None, 3])
def test_value_is_the_negative_log_likelihood_per_point(num_particles: int | None) -> None:
    learner, tasks = build(num_particles), draw()
    expected = torch.stack([plain_terms(learner, tasks, s)[0] for s in range(num_particles or 1)]).mean()
    torch.testing.assert_close(learner.loss(tasks), -expected, rtol=1e-12, atol=1e-12)


def test_map_climbs_likelihood_plus_hyper_prior() -> None:
    learner, tasks = build(None), draw()
    parameters = list(learner.parameters())
    ours = torch.autograd.grad(learner.loss(tasks), parameters)
    theirs = torch.autograd.grad(-plain_terms(learner, tasks, 0)[1], parameters)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
    free = build(None, prior_factor=0.0)  # from the same weights
    unheld = torch.autograd.grad(free.loss(tasks), list(free.parameters()))
    assert all((one - other).abs().max() > 1e-4 for one, other in zip(ours, unheld, strict=True))


def test_svgd_moves_particles_along_the_direction_of_its_formula() -> None:
    learner, tasks = build(3), draw()
    parameters = list(learner.parameters())
    flat_SP = torch.cat([parameter.detach().flatten(1) for parameter in parameters], dim=1)
    scores = []
    for s in range(3):
        gradients = torch.autograd.grad(plain_terms(learner, tasks, s)[1], parameters)
        scores.append(torch.cat([gradient[s].flatten() for gradient in gradients]))
    squares = [(flat_SP[s] - flat_SP[t]).square().sum() for s, t in ((0, 1), (0, 2), (1, 2))]
    bandwidth = torch.stack(squares).median() / math.log(4)
    per_point = (1 / torch.stack([mask.sum() for mask in tasks.points()[2]])).mean()
    learner.loss(tasks).backward()
    for s in range(3):
        direction = torch.zeros_like(flat_SP[s])
        for t in range(3):
            apart = flat_SP[s] - flat_SP[t]
            kernel = torch.exp(-apart.square().sum() / bandwidth)
            direction += kernel * (scores[t] + per_point * 2 * apart / bandwidth) / 3
        ours = torch.cat([p.grad[s].flatten() for p in parameters if p.grad is not None])
        torch.testing.assert_close(-ours, direction, rtol=1e-6, atol=1e-9)


def test_training_lowers_the_loss_and_keeps_particles_apart() -> None:
    torch.manual_seed(0)
    learner, generator = Pacoh(num_particles=4, hidden_dims=(16, 16)), torch.Generator().manual_seed(2)
    optimizer = torch.optim.Adam(learner.parameters(), lr=1e-2)

    def lines(num_tasks: int) -> FewShotTasks:
        x = torch.randn(num_tasks, 6, 1, generator=generator)
        y = 1 + x * torch.randn(num_tasks, 1, 1, generator=generator) / 2
        mask = torch.ones(num_tasks, 6, dtype=torch.bool)
        return FewShotTasks(x[:, :3], y[:, :3], mask[:, :3], x[:, 3:], y[:, 3:], mask[:, 3:], num_tasks * 6)

    with torch.no_grad():
        before = learner.loss(lines(200))  # a value is there without gradients
    for _ in range(100):
        optimizer.zero_grad()
        learner.loss(lines(20)).backward()
        optimizer.step()
    assert learner.loss(lines(200)) < before - 0.5
    means_SBQY = answer(learner, replace(lines(1), support_mask=torch.zeros(1, 3, dtype=torch.bool))).means_SBQY
    assert means_SBQY.std(dim=0).min() > 1e-3


# Prediction


class Exact(gpytorch.models.ExactGP):
    """One particle and one target dimension in GPyTorch."""

    def __init__(self, x: Tensor, y: Tensor, priors: GaussianProcessParticles, s: int, dimension: int) -> None:
        likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
        likelihood.noise = prior(priors, s, dimension, x)[2].detach()
        super().__init__(x, y, likelihood)
        self.prior = priors, s, dimension

    def forward(self, x: Tensor) -> gpytorch.distributions.MultivariateNormal:
        mean, kernel, _ = prior(*self.prior, x)
        return gpytorch.distributions.MultivariateNormal(mean, kernel)


def test_predictive_is_the_mixture_of_exact_gps() -> None:
    learner, tasks = build(), draw()
    tasks = replace(tasks, query_mask=torch.ones(4, 3, dtype=torch.bool))
    predictive = answer(learner, tasks)
    joint_logs = torch.zeros(3, 4, dtype=torch.float64)
    for s in range(3):
        for b in (0, 2, 3):  # GPyTorch has no prediction without support
            for dimension in range(2):
                mask = tasks.support_mask[b]
                x, y = tasks.support_x[b, mask], tasks.support_y[b, mask, dimension]
                model = Exact(x, y, learner.priors, s, dimension).eval()
                with torch.no_grad():
                    theirs = model.likelihood.eval()(model(tasks.query_x[b]))
                ours = predictive.means_SBQY[s, b, :, dimension], predictive.variances_SBQY[s, b, :, dimension]
                torch.testing.assert_close(ours, (theirs.mean, theirs.variance), rtol=1e-7, atol=1e-7)
                full = MultivariateNormal(theirs.mean, theirs.covariance_matrix)
                joint_logs[s, b] += full.log_prob(tasks.query_y[b, :, dimension])
    joint = predictive.joint_log_prob(tasks.query_y).value
    expected = torch.logsumexp(joint_logs, dim=0) - math.log(3)
    kept = torch.tensor([0, 2, 3])
    torch.testing.assert_close(joint[kept], expected[kept], rtol=1e-6, atol=1e-6)


def test_without_support_particles_answer_with_their_priors() -> None:
    learner, tasks = build(), draw()
    predictive = answer(learner, tasks)
    for s in range(3):
        mean, kernel, noise = prior(learner.priors, s, 1, tasks.query_x[1])
        torch.testing.assert_close(predictive.means_SBQY[s, 1, :, 1], mean.detach(), rtol=1e-10, atol=1e-10)
        variance = (kernel.diagonal() + noise).detach()
        torch.testing.assert_close(predictive.variances_SBQY[s, 1, :, 1], variance, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inference": "map", "num_particles": 4}, "num_particles=4 has no effect with inference=map"),
        ({"inference": "vi"}, "inference=vi must be one of map, svgd"),
        ({"num_particles": 0}, "num_particles=0 must be at least 1"),
        ({"feature_dim": 0}, "feature_dim=0 must be at least 1"),
        ({"weight_prior_sd": 0.0}, "weight_prior_sd=0.0 must be positive"),
        ({"noise_floor": -1.0}, "noise_floor=-1.0 must be positive"),
        ({"prior_factor": -0.1}, "prior_factor=-0.1 must not be negative"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Pacoh(**arguments)  # type: ignore[arg-type]

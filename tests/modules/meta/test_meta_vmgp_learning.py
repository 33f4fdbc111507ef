"""VMGP with an identity decoder learns Gaussian tasks as a deep kernel GP does, and their marginal without support."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Generator, nn

from modules.contracts import Estimate, FewShotLearner, FewShotTasks, Predictive
from modules.meta import DeepKernelGP, Vmgp

NOISE = 0.3
STEPS = 800


def draw(num_tasks: int, generator: Generator) -> FewShotTasks:
    """Five support points and five queries of a Gaussian process of unit variance, with noise."""
    x, white, noise = torch.randn(3, num_tasks, 10, 1, generator=generator, dtype=torch.float64)
    covariance = torch.exp(-0.5 * ((x - x.mT) / 0.974).square()) + 1e-8 * torch.eye(10)
    x, y = x.float(), (torch.linalg.cholesky(covariance) @ white + NOISE * noise).float()
    mask = torch.ones(num_tasks, 5, dtype=torch.bool)
    return FewShotTasks(x[:, :5], y[:, :5], mask, x[:, 5:], y[:, 5:], mask, 10 * num_tasks)


def train(learner: FewShotLearner) -> FewShotLearner:
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(learner.parameters(), 0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=STEPS)
    for _ in range(STEPS):
        optimizer.zero_grad()
        learner.loss(draw(50, generator), generator).backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    return learner


@cache
def vmgp() -> FewShotLearner:
    torch.manual_seed(0)
    return train(Vmgp(latent_dim=1, decoder=lambda *_: nn.Identity()))


def predict(learner: FewShotLearner, tasks: FewShotTasks, num_samples: int) -> Predictive:
    generator = torch.Generator().manual_seed(1)
    support = tasks.support_x, tasks.support_y, tasks.support_mask
    with torch.no_grad():
        return learner.predict(*support, tasks.query_x, num_samples=num_samples, generator=generator)


def log_prob(learner: FewShotLearner) -> Estimate:
    tasks = draw(400, torch.Generator().manual_seed(5))
    return predict(learner, tasks, 4000).log_prob(tasks.query_y)


def test_with_an_identity_decoder_it_learns_what_a_deep_kernel_gp_does() -> None:
    torch.manual_seed(0)
    rival = train(DeepKernelGP(noise=0.1))
    ours, theirs = log_prob(vmgp()), log_prob(rival)
    assert ours.error.square().mean() < 0.01  # half of it is how far, by draws, the mean of ours lies too low
    assert ours.value.mean().item() == pytest.approx(theirs.value.mean().item(), abs=0.02)


def test_without_support_it_tells_the_marginal_of_the_tasks() -> None:
    tasks = draw(50, torch.Generator().manual_seed(5))
    tasks.support_mask = torch.zeros_like(tasks.support_mask)
    told = predict(vmgp(), tasks, 2000)
    levels = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95])
    marginal = torch.distributions.Normal(0.0, (1 + NOISE**2) ** 0.5).icdf(levels)
    torch.testing.assert_close(told.quantile(levels).mean(dim=(1, 2, 3)), marginal, rtol=0, atol=0.1)

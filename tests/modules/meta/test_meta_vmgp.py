"""What users of VMGP rely on: masks, densities, errors, gradients, memory.

Letters: B tasks, Q queries.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from dense_vmgp import KINDS, perceptron, random_tasks
from torch import Tensor

from modules.contracts import FewShotTasks, GaussianMixture
from modules.meta import Vmgp

OBJECTIVES = ["elbo", "iwae", "query"]


def model(posterior: str, covariance: str, **options: object) -> Vmgp:
    torch.manual_seed(0)
    return Vmgp(posterior=posterior, covariance=covariance, **options).double()  # type: ignore[arg-type]


def predict(learner: Vmgp, tasks: FewShotTasks, num_samples: int = 50) -> GaussianMixture:
    """With common random numbers."""
    support = tasks.support_x, tasks.support_y, tasks.support_mask
    return learner.predict(*support, tasks.query_x, num_samples=num_samples, generator=torch.Generator().manual_seed(3))


def loss(learner: Vmgp, tasks: FewShotTasks) -> Tensor:
    return learner.loss(tasks, torch.Generator().manual_seed(3))


def filled(tasks: FewShotTasks, value: float) -> FewShotTasks:
    """The same tasks with other values in their filler points."""

    def fill(x: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask[..., None], x, value)

    return replace(
        tasks,
        support_x=fill(tasks.support_x, tasks.support_mask),
        support_y=fill(tasks.support_y, tasks.support_mask),
        query_x=fill(tasks.query_x, tasks.query_mask),
        query_y=fill(tasks.query_y, tasks.query_mask),
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(("posterior", "covariance"), KINDS)
def test_filler_influences_nothing(posterior: str, covariance: str, objective: str) -> None:
    learner = model(posterior, covariance, objective=objective, output_dim=2)
    tasks = random_tasks(3, output_dim=2, ragged=True)
    one, other = filled(tasks, 0.5), filled(tasks, -30.0)
    torch.testing.assert_close(loss(learner, one), loss(learner, other), rtol=1e-12, atol=0)
    means = [predict(learner, replace(t, query_x=tasks.query_x)).means_SBQY for t in (one, other)]
    torch.testing.assert_close(*means, rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad(loss(learner, t), list(learner.parameters())) for t in (one, other)]
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("num_support", [0, 1, 4])
@pytest.mark.parametrize(("posterior", "covariance"), KINDS)
def test_predictive_is_a_density_and_its_samples_follow_it(posterior: str, covariance: str, num_support: int) -> None:
    learner = model(posterior, covariance)
    answer = predict(learner, random_tasks(2, num_support=num_support, num_queries=2), 500)
    grid = torch.linspace(-8, 8, 4001).double()
    density = torch.stack([answer.log_prob(y.expand(2, 2, 1)).value.exp() for y in grid[::4]])
    integral = torch.trapezoid(density, grid[::4], dim=0)
    torch.testing.assert_close(integral, torch.ones(2, 2).double(), rtol=0, atol=1e-3)
    draws = answer.sample(4000, generator=torch.Generator().manual_seed(0)).sort(dim=0).values
    below = torch.stack([answer.cdf(y) for y in draws[::10]])
    ranks = torch.arange(0, 4000, 10).double()[:, None, None, None] / 4000
    kolmogorov, thinning = 2.1 / 4000**0.5, 1 / 400  # at 1 % for all cases together
    assert (below - ranks).abs().max() < kolmogorov + thinning


@pytest.mark.parametrize(("posterior", "covariance"), KINDS)
def test_joint_draws_agree_with_each_query_by_itself(posterior: str, covariance: str) -> None:
    """Without support, whose draws would tie queries together in both."""
    learner, tasks = model(posterior, covariance, sigma=0.01), random_tasks(2, num_support=0, num_queries=2)
    tasks = replace(tasks, query_x=tasks.query_x[:, :1] + torch.tensor([[0.0], [0.05]]).double())
    answer = predict(learner, tasks, 20_000)
    draws = answer.sample(20_000, joint=True, generator=torch.Generator().manual_seed(0))
    sd = draws.std(dim=0)
    assert ((draws.mean(dim=0) - answer.mean) / sd).abs().max() < 0.04
    correlation = torch.corrcoef(draws[:, 0, :, 0].T)[0, 1]
    alone = torch.corrcoef(answer.sample(20_000, generator=torch.Generator().manual_seed(0))[:, 0, :, 0].T)[0, 1]
    assert correlation > 0.5
    assert alone.abs() < 0.04
    assert answer.joint_log_prob(tasks.query_y).value.isfinite().all()


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(("posterior", "covariance"), KINDS)
def test_gradients_are_exact(posterior: str, covariance: str, objective: str) -> None:
    networks = {"decoder": perceptron, "encoder": perceptron, "mean": perceptron}
    learner = model(posterior, covariance, objective=objective, latent_dim=2, num_draws=2, **networks)
    tasks = random_tasks(2, num_support=2, num_queries=2, ragged=True)
    names, values = zip(*((n, p) for n, p in learner.named_parameters() if "features" not in n), strict=True)

    def run(*parameters: Tensor) -> Tensor:
        new = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(_Loss(learner), {f"learner.{n}": p for n, p in new.items()}, (tasks,))

    assert torch.autograd.gradcheck(run, values, atol=1e-5, rtol=1e-4, fast_mode=True)


class _Loss(torch.nn.Module):
    def __init__(self, learner: Vmgp) -> None:
        super().__init__()
        self.learner = learner

    def forward(self, tasks: FewShotTasks) -> Tensor:
        return loss(self.learner, tasks)


@pytest.mark.parametrize(
    ("posterior", "covariance", "num_steps"), [("sites", "independent", 1000), ("free", "kronecker", 250)]
)
def test_clustered_and_repeated_inputs_stay_finite_in_float32(posterior: str, covariance: str, num_steps: int) -> None:
    learner = model(posterior, covariance).float()
    optimizer = torch.optim.Adam(learner.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(0)
    tasks = random_tasks(4, num_support=20, num_queries=5, dtype=torch.float32)
    tasks = replace(tasks, support_x=(tasks.support_x * 1e-3).round(decimals=4), query_x=tasks.query_x * 1e-3)
    for _ in range(num_steps):
        optimizer.zero_grad()
        value = learner.loss(tasks, generator)
        value.backward()
        optimizer.step()
        assert value.isfinite()
    answer = predict(learner, tasks)
    assert answer.log_prob(tasks.query_y).value.isfinite().all()
    assert answer.joint_log_prob(tasks.query_y).value.isfinite().all()


def test_mistakes_are_told() -> None:
    with pytest.raises(ValueError, match="covariance=kronecker does not go with posterior=sites"):
        Vmgp(covariance="kronecker")
    with pytest.raises(ValueError, match=r"sigma=-1.0 must be positive"):
        Vmgp(sigma=-1.0)
    with pytest.raises(ValueError, match="latent_dim=0 must be at least 1"):
        Vmgp(latent_dim=0)
    with pytest.raises(ValueError, match="sigma=fixed must be positive, or learned"):
        Vmgp(sigma="fixed")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="posterior=site must be one of sites, free"):
        Vmgp(posterior="site")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="objective=vae must be one of elbo, iwae, query"):
        Vmgp(objective="vae")  # type: ignore[arg-type]


def test_published_model_weighs_the_divergence_by_a_hundredth() -> None:
    """-2 sigma^2 ELBO is the sum of squares plus 0.01 KL, but for a constant."""
    learner = model("free", "kronecker", sigma=0.005**0.5)
    assert float(2 * learner.variance_Y) == pytest.approx(0.01)
    assert "raw_sigma_Y" not in dict(learner.named_parameters())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory of Linux")
def test_prediction_holds_little_beside_its_result() -> None:
    script = """
import pathlib, torch
from modules.meta import Vmgp
torch.set_num_threads(1)
def peak_kb():
    return int(pathlib.Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])
x, y, mask = torch.randn(40, 5, 1), torch.randn(40, 5, 1), torch.ones(40, 5, dtype=torch.bool)
learner = Vmgp()
learner.predict(x, y, mask, torch.randn(40, 100, 1), num_samples=1)
before = peak_kb()
learner.predict(x, y, mask, torch.randn(40, 100, 1), num_samples=1500)
print((peak_kb() - before) / 1024)
"""
    root = Path(__file__).parents[3]
    result = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert float(result.stdout) < 400  # MB; the result has 24, its latents would have 240, hidden layers 960 each

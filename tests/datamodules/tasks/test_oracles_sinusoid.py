"""The oracle of sinusoids against brute force over a fine grid, and against draws from the prior."""

from __future__ import annotations

import math

import pytest
import torch
from oracle_checks import Drawn, draw, pit_chi_square, scores_of
from torch import Generator

from datamodules.tasks import Sinusoid, Tangent
from datamodules.tasks.noise import FixedNoise, RelativeNoise
from modules.contracts import GaussianMixture


def oracle(tasks: Sinusoid, drawn: Drawn, num_samples: int = 500, seed: int = 1) -> GaussianMixture:
    predictive = tasks.oracle(
        *drawn.support, drawn.query_x, num_samples=num_samples, generator=Generator().manual_seed(seed)
    )
    assert isinstance(predictive, GaussianMixture)
    return predictive


@pytest.mark.parametrize("num_support", [0, 1, 2, 3])
def test_oracle_is_what_draws_from_the_prior_say(num_support: int) -> None:
    """With noise of 30 % of A, many draws from the prior have weight."""
    tasks = Sinusoid(noise=RelativeNoise(0.3))
    drawn = draw(tasks, 4, num_support, 2, seed=1)
    uniform = torch.rand(3, 400_000, generator=Generator().manual_seed(2)).double()
    amplitude, frequency, phase = 0.1 + 4.9 * uniform[0], 0.5 + 1.5 * uniform[1], 2 * math.pi * uniform[2]
    found = oracle(tasks, drawn, 10_000)
    for task in range(4):
        logs = torch.zeros_like(amplitude)
        for x, y in zip(drawn.support[0][task, :, 0], drawn.support[1][task, :, 0], strict=True):
            wave = amplitude * (frequency * x + phase).sin()
            logs += -0.5 * ((y - wave) / (0.3 * amplitude)) ** 2 - amplitude.log()
        weights = logs.softmax(dim=0)
        size = 1 / weights.square().sum().item()
        assert size > 2000
        for query in range(2):
            wave = amplitude * (frequency * drawn.query_x[task, query, 0] + phase).sin()
            mean = (weights * wave).sum()
            sd = (weights * (wave - mean) ** 2).sum().sqrt().item()
            assert found.mean[task, query, 0].item() == pytest.approx(mean.item(), abs=5 * sd / min(size, 5000) ** 0.5)
            below = (weights * torch.special.ndtr((1.0 - wave) / (0.3 * amplitude))).sum().item()
            assert found.cdf(torch.ones(4, 2, 1))[task, query, 0].item() == pytest.approx(below, abs=0.04)


@pytest.mark.parametrize("num_support", [0, 1])
def test_joint_density_is_what_draws_from_the_prior_say(num_support: int) -> None:
    tasks = Sinusoid(noise=RelativeNoise(0.2))
    drawn = draw(tasks, 20, num_support, 3, seed=1)
    asked = torch.rand(20, 3, generator=Generator().manual_seed(3)) < 0.6
    found = oracle(tasks, drawn, 2000).joint_log_prob(drawn.query_y, asked)
    uniform = torch.rand(3, 400_000, generator=Generator().manual_seed(2)).double()
    amplitude, frequency, phase = 0.1 + 4.9 * uniform[0], 0.5 + 1.5 * uniform[1], 2 * math.pi * uniform[2]
    x, y = (torch.cat(pair, dim=1).double() for pair in
            ((drawn.support[0], drawn.query_x), (drawn.support[1], drawn.query_y)))  # fmt: skip
    surprises = []
    for task in range(20):
        wave = amplitude * (frequency * x[task] + phase).sin()
        logs = torch.distributions.Normal(wave, 0.2 * amplitude).log_prob(y[task])
        support = logs[:num_support].sum(dim=0)
        everything = support + logs[num_support:][asked[task]].sum(dim=0)
        expected = everything.logsumexp(dim=0) - support.logsumexp(dim=0)
        error = (everything.softmax(dim=0).square().sum() + found.error[task] ** 2).sqrt()
        assert error < 0.2
        surprises.append((found.value[task] - expected) / (error + 1e-9))
    assert torch.stack(surprises).square().mean().sqrt() < 1.5


@pytest.mark.parametrize("num_support", [0, 1, 5])
def test_joint_density_of_one_query_is_that_of_the_query(num_support: int) -> None:
    """At the real noise. The mixture lacks components where the support leaves much open: hence many draws here."""
    drawn = draw(Sinusoid(), 40, num_support, 1, seed=8)
    found = oracle(Sinusoid(), drawn, 4000)
    joint, single = found.joint_log_prob(drawn.query_y), found.log_prob(drawn.query_y)
    error = (joint.error**2 + single.error[:, 0] ** 2).sqrt()
    assert joint.error.max() < 0.1
    assert ((joint.value - single.value[:, 0]) / error).square().mean().sqrt() < 1.6
    assert torch.equal(joint.value, found.joint_log_prob(drawn.query_y).value)


def test_two_points_that_say_nearly_the_same_leave_draws() -> None:
    """Seen in earnest: 0.0004 apart, with noise that lets the slope point to 20 times the largest amplitude."""
    x, y = torch.tensor([[[-4.3090], [-4.3086]]]), torch.tensor([[[-0.0384], [-0.0572]]])
    drawn = Drawn((x, y, torch.ones(1, 2, dtype=torch.bool)), torch.zeros(1, 1, 1), torch.zeros(1, 1, 1))
    weights = oracle(Sinusoid(), drawn).log_weights.exp()
    assert 1 / weights.square().sum() > 100


def test_amplitudes_may_start_at_zero() -> None:
    tasks = Sinusoid(amplitude=(0.0, 5.0))
    drawn = draw(tasks, 100, 5, 1, seed=3)
    assert pit_chi_square(scores_of(oracle(tasks, drawn, 250), drawn).pit, num_bins=10) > 0.001


def test_oracle_is_the_integral_over_a_fine_grid() -> None:
    """One task at the real noise, three points: A, f and phi on a grid that resolves 1 %, around what explains them."""
    tasks = Sinusoid(amplitude=(1.0, 1.4), frequency=(1.0, 1.2), phase=(0.5, 1.0))
    drawn = draw(tasks, 1, 3, 1, seed=4)
    axes = [low + (high - low) * (torch.arange(n).double() + 0.5) / n
            for low, high, n in ((1.0, 1.4, 150), (1.0, 1.2, 150), (0.5, 1.0, 250))]  # fmt: skip
    amplitude, frequency, phase = (value.flatten() for value in torch.meshgrid(*axes, indexing="ij"))
    logs = torch.zeros_like(amplitude)
    for x, y in zip(drawn.support[0][0, :, 0], drawn.support[1][0, :, 0], strict=True):
        logs += -0.5 * ((y / amplitude - (frequency * x + phase).sin()) / 0.01) ** 2 - amplitude.log()
    weights = logs.softmax(dim=0)
    wave = amplitude * (frequency * drawn.query_x[0, 0, 0] + phase).sin()
    mean = (weights * wave).sum().item()
    sd = (weights * (wave - mean) ** 2).sum().sqrt().item()
    found = oracle(tasks, drawn, 5000)
    assert found.mean.item() == pytest.approx(mean, abs=0.05 * sd)
    spread = (found.log_weights[:, 0].exp() * (found.means_SBQY[:, 0, 0, 0] - found.mean.item()) ** 2).sum().sqrt()
    assert spread.item() == pytest.approx(sd, rel=0.05)


@pytest.mark.parametrize("tasks", [Sinusoid(), Sinusoid(frequency=(0.5, 10.0), test_x_range=(-5.0, 10.0))])
@pytest.mark.parametrize("num_support", [0, 1, 5])
def test_oracle_is_calibrated(tasks: Sinusoid, num_support: int) -> None:
    drawn = draw(tasks, 60, num_support, 1, seed=3)
    assert pit_chi_square(scores_of(oracle(tasks, drawn, 250), drawn).pit, num_bins=10) > 0.001


def test_monte_carlo_error_is_what_it_says() -> None:
    drawn = draw(Sinusoid(), 20, 5, 2, seed=5)
    one, other = (oracle(Sinusoid(), drawn, 500, seed).log_prob(drawn.query_y) for seed in (1, 2))
    ratio = (one.value - other.value) / (one.error.square() + other.error.square()).sqrt()
    assert 0.6 < ratio.square().mean().sqrt() < 1.5
    assert one.error.mean() < 0.05


def test_nobody_who_believes_otherwise_does_better() -> None:
    drawn = draw(Sinusoid(), 60, 5, 3, seed=6)
    right, wrong = (
        oracle(tasks, drawn).log_prob(drawn.query_y).value.mean(dim=1)
        for tasks in (Sinusoid(), Sinusoid(noise=RelativeNoise(0.02)))
    )
    assert (right - wrong).mean() > 3 * (right - wrong).std() / 60**0.5


def test_filler_changes_nothing() -> None:
    tasks, drawn = Sinusoid(), draw(Sinusoid(), 4, 4, 2, seed=7)
    x, y, _ = drawn.support
    mask = torch.tensor([[True] * 4, [False, True, False, True], [False, False, True, False], [False] * 4])
    one, other = (
        oracle(tasks, Drawn(
            (torch.where(mask[..., None], x, filler), torch.where(mask[..., None], y, filler), mask),
            drawn.query_x, drawn.query_y,
        ))
        for filler in (0.0, 3.0)
    )  # fmt: skip
    torch.testing.assert_close(one.mean, other.mean, rtol=1e-9, atol=1e-9)
    assert torch.isfinite(one.log_prob(drawn.query_y).value).all()


@pytest.mark.parametrize(
    "tasks",
    [Sinusoid(noise=FixedNoise(0.1)), Sinusoid(amplitude=(2.0, 2.0)), Sinusoid(phase=(1.0, 1.0)), Tangent()],
    ids=["noise", "amplitude", "phase", "tangent"],
)
def test_nobody_knows_the_oracle_of_others(tasks: Sinusoid) -> None:
    drawn = draw(tasks, 2, 3, 1)
    assert tasks.oracle(*drawn.support, drawn.query_x) is None

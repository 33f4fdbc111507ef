"""The oracle of sinusoids against brute force over a fine grid, and against draws from the prior."""

from __future__ import annotations

import math

import pytest
import torch
from oracle_checks import Drawn, draw, pit_chi_square, scores_of
from torch import Generator

from datamodules.tasks import Sinusoid
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
@pytest.mark.parametrize("num_support", [1, 5])
def test_oracle_is_calibrated(tasks: Sinusoid, num_support: int) -> None:
    drawn = draw(tasks, 100, num_support, 1, seed=3)
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


def test_nobody_knows_the_oracle_under_other_noise() -> None:
    tasks = Sinusoid(noise=FixedNoise(0.1))
    drawn = draw(tasks, 2, 3, 1)
    assert tasks.oracle(*drawn.support, drawn.query_x) is None

"""Oracles of transformed Gaussian processes: calibration, closed forms and brute force."""

from __future__ import annotations

import sys

import pytest
import torch
from oracle_checks import draw, generator, grid, oracle, pit_chi_square, scores_of

from datamodules.tasks import LatentFunction
from datamodules.tasks.oracles import LatentGp, sign_patterns
from datamodules.tasks.transforms import Absolute, Floor, Identity, Product, Sign, Square, Transform

TRANSFORMS = (Identity(), Floor(), Sign(), Square(), Absolute())


@pytest.mark.parametrize("num_support", [0, 5])
@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda transform: transform.name)
def test_oracle_is_calibrated(transform: Transform, num_support: int) -> None:
    tasks = LatentFunction(transform)
    drawn = draw(tasks, 1000, num_support, 1, seed=5)
    scores = scores_of(oracle(tasks, drawn, 500), drawn, spacing=tasks.spacing)
    assert pit_chi_square(scores.pit) > 0.001


@pytest.mark.parametrize("transform", [Floor(), Sign(), Square()], ids=lambda transform: transform.name)
def test_nobody_who_believes_otherwise_does_better(transform: Transform) -> None:
    """An oracle of another lengthscale loses on the same tasks."""
    tasks, wrong = LatentFunction(transform), LatentFunction(transform, lengthscale=0.6)
    drawn = draw(tasks, 600, 5, 2, seed=6)
    name = "nll" if tasks.spacing is None else "log_loss"
    right_B, wrong_B = (
        scores_of(oracle(family, drawn, 300), drawn, spacing=tasks.spacing).values[name] for family in (tasks, wrong)
    )
    assert (wrong_B - right_B).mean() > 2.5 * (wrong_B - right_B).std() / 600**0.5


def test_identity_is_the_gaussian_process() -> None:
    tasks = LatentFunction(Identity(), noise_sd=0.3, latent_dim=2)
    drawn = draw(tasks, 3, 4, 2)
    x, y = drawn.support[0].double(), drawn.support[1].double()
    every = torch.cat([x, drawn.query_x.double()], dim=1)
    kernel = 2 * tasks.variance * torch.exp(-0.5 * (every - every.mT).square() / tasks.lengthscale**2)
    kernel = kernel + (0.09 + 2e-9 * tasks.variance) * torch.eye(6)
    gain = kernel[:, 4:, :4] @ kernel[:, :4, :4].inverse()
    covariance = kernel[:, 4:, 4:] - gain @ kernel[:, :4, 4:]
    expected = torch.distributions.MultivariateNormal((gain @ y)[..., 0], covariance)
    predictive = oracle(tasks, drawn)
    torch.testing.assert_close(predictive.mean[..., 0], expected.mean, rtol=1e-7, atol=1e-7)
    joint = predictive.joint_log_prob(drawn.query_y.double()).value
    torch.testing.assert_close(joint, expected.log_prob(drawn.query_y[..., 0].double()), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("power", [1, 2])
def test_folded_density_at_one_point_is_by_hand(power: int) -> None:
    tasks = LatentFunction(Absolute() if power == 1 else Square())
    drawn = draw(tasks, 5, 1, 1)
    root = drawn.support[1][..., 0].double() ** (1 / power)
    latent = LatentGp(*drawn.latent, lengthscale=tasks.lengthscale, variance=tasks.variance)
    up = latent.given(root[None])
    y = drawn.query_y.double()
    z = y ** (1 / power)
    both = torch.logaddexp(up.log_prob(z).value, up.log_prob(-z).value)  # the other sign mirrors it
    slope = (z if power == 1 else 2 * z * z).log()[..., 0] - z.log()[..., 0]
    torch.testing.assert_close(oracle(tasks, drawn).log_prob(y).value, both - slope, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("transform", [Absolute(), Square()], ids=lambda transform: transform.name)
def test_folded_predictive_is_one_distribution(transform: Transform) -> None:
    tasks = LatentFunction(transform)
    drawn = draw(tasks, 4, 3, 1)
    predictive = oracle(tasks, drawn)
    levels = torch.tensor([0.02, 0.3, 0.5, 0.9]).double()
    quantiles = predictive.quantile(levels)
    for level, quantile in zip(levels, quantiles, strict=True):
        torch.testing.assert_close(predictive.cdf(quantile), level.expand(4, 1, 1), rtol=0, atol=1e-8)
    low, high = quantiles[1], quantiles[2]
    torch.testing.assert_close(predictive.log_mass(low, high).value.exp(), torch.full((4, 1), 0.2).double())
    steps, width = grid(0, 1, 2000)
    densities = torch.stack([predictive.log_prob(low + step * (high - low)).value.exp() for step in steps])
    torch.testing.assert_close((densities * width).sum(dim=0) * (high - low)[..., 0], torch.full((4, 1), 0.2).double(),
                               rtol=1e-4, atol=0)  # fmt: skip
    samples = predictive.sample(100_000, generator=generator())
    torch.testing.assert_close(predictive.mean, samples.mean(dim=0), rtol=0.02, atol=0.01)
    chained = predictive.joint_log_prob(drawn.query_y.double()).value
    torch.testing.assert_close(chained, predictive.log_prob(drawn.query_y.double()).value[:, 0], rtol=1e-6, atol=1e-6)
    assert predictive.log_prob(-drawn.query_y.double()).value.eq(-torch.inf).all()


def test_sign_patterns_are_all_of_them() -> None:
    covariance = LatentGp(
        torch.randn(2, 4, 1, generator=generator()), torch.ones(2, 4, dtype=torch.bool), torch.zeros(2, 0, 1),
        lengthscale=2.0, variance=1.0, noise_variance=0.5,
    ).covariance_BNN  # fmt: skip
    magnitude = torch.rand(2, 4, generator=generator()).double()
    values, logs = sign_patterns(covariance, magnitude, torch.ones(2, 4, dtype=torch.bool), magnitude)
    assert len(values) == 16
    assert len({tuple(row.tolist()) for row in values[:, 0].sign()}) == 16
    expected = torch.distributions.MultivariateNormal(torch.zeros(4).double(), covariance).log_prob(values)
    torch.testing.assert_close(logs, expected, rtol=1e-7, atol=1e-7)


def test_many_sign_patterns_need_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve points, all 4096 patterns against the 1024 likeliest beginnings."""
    tasks = LatentFunction(Absolute())
    drawn = draw(tasks, 20, 12, 1)
    short = oracle(tasks, drawn).log_prob(drawn.query_y).value
    monkeypatch.setattr(sys.modules[sign_patterns.__module__], "MAX_PATTERNS", 4096)
    torch.testing.assert_close(oracle(tasks, drawn).log_prob(drawn.query_y).value, short, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda transform: transform.name)
def test_filler_changes_nothing(transform: Transform) -> None:
    tasks = LatentFunction(transform)
    drawn = draw(tasks, 3, 4, 2)
    x, y, mask = drawn.support
    mask = torch.tensor([[True, True, True, True], [True, False, True, False], [False] * 4])
    values = []
    for filler in (0.0, 7.0):
        keep = mask[..., None]
        predictive = tasks.oracle(
            torch.where(keep, x, filler), torch.where(keep, y, filler), mask, drawn.query_x,
            num_samples=200, generator=generator(),
        )  # fmt: skip
        assert predictive is not None
        values.append(predictive.cdf(drawn.query_y.double() + 0.1))
    torch.testing.assert_close(values[0], values[1], rtol=1e-7, atol=1e-7)
    none = tasks.oracle(x[2:, :0], y[2:, :0], mask[2:, :0], drawn.query_x[2:], num_samples=200)
    assert none is not None
    torch.testing.assert_close(values[0][2:], none.cdf(drawn.query_y[2:].double() + 0.1), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(
    "tasks", [LatentFunction(Product()), LatentFunction(Floor(10), noise_sd=1.0), LatentFunction(Sign(), latent_dim=2)]
)
def test_nobody_knows_the_oracle_of_others(tasks: LatentFunction) -> None:
    drawn = draw(tasks, 2, 3, 1)
    assert tasks.oracle(*drawn.support, drawn.query_x) is None

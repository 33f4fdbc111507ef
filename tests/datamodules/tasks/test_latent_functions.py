"""Latent-function tasks: moments, correlation length, marginals, and every transform."""

from __future__ import annotations

import math

import pytest
import torch
from moments import NUM_TASKS, assert_mean, at
from scipy import stats

from datamodules.tasks import LatentFunction, Steps, transforms
from datamodules.tasks.generators import task_generator

VARIANCE = 1 + math.log(2)
SD = math.sqrt(VARIANCE)


@pytest.mark.parametrize("distance", [0.3, 0.974, 2.0])
def test_latent_functions_have_their_correlation_length(distance: float) -> None:
    y_BM = at(LatentFunction(transforms.Identity()), 0.4, 0.4 + distance)
    assert_mean(y_BM[:, 0], 0.0)
    assert_mean(y_BM[:, 1].square(), VARIANCE)
    assert_mean(y_BM.prod(dim=1), VARIANCE * math.exp(-0.5 * (distance / 0.974) ** 2))


def test_latent_functions_of_several_inputs_and_latents() -> None:
    family = LatentFunction(transforms.Identity(), input_dim=2, latent_dim=3, lengthscale=0.5, variance=2.0)
    x_BM2 = torch.tensor([[0.0, 0.0], [0.3, 0.4]]).expand(NUM_TASKS, -1, -1)
    y_BM = family.targets(x_BM2, task_generator(0, "targets"))[..., 0]
    assert_mean(y_BM[:, 0].square(), 6.0)
    assert_mean(y_BM.prod(dim=1), 6.0 * math.exp(-0.5))


def test_floor_has_the_marginal_of_its_latent() -> None:
    counts = torch.bincount((at(LatentFunction(), 0.7)[:, 0] / 5 + 4).clamp(0, 7).long(), minlength=8)
    edges = stats.norm.cdf(torch.arange(-3, 4).numpy() / SD)
    masses = torch.tensor([edges[0], *(edges[1:] - edges[:-1]), 1 - edges[-1]])
    assert stats.chisquare(counts.numpy(), (masses * NUM_TASKS).numpy()).pvalue > 1e-3


@pytest.mark.parametrize(
    ("transform", "mean", "mean_square"),
    [
        (transforms.Sign(), 0.0, 1.0),
        (transforms.Square(), VARIANCE, 3 * VARIANCE**2),
        (transforms.Absolute(), math.sqrt(2 / math.pi) * SD, VARIANCE),
        (transforms.Sine(), 0.0, (1 - math.exp(-2 * VARIANCE)) / 2),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_transforms_have_their_marginals(transform: transforms.Transform, mean: float, mean_square: float) -> None:
    y_B = at(LatentFunction(transform), -0.2)[:, 0]
    assert_mean(y_B, mean)
    assert_mean(y_B.square(), mean_square)


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (transforms.Identity(), -0.5),
        (transforms.Absolute(), 3.5),
        (transforms.Square(), 6.25),
        (transforms.SquaredSum(), 0.25),
        (transforms.Sine(), math.sin(1.5) + math.sin(-2.0)),
        (transforms.Product(), -3.0),
        (transforms.Sign(), -1.0),
        (transforms.Floor(), 5.0 * (1 - 2)),
        (transforms.Floor(10.0), 10.0 * (1 - 2)),
        (transforms.ArctangentInverse(), math.atan(1 / 1.5) + math.atan(-0.5)),
        (transforms.SineInverse(), math.sin(1 / 1.5) + math.sin(-0.5)),
        (transforms.Tangent(), math.tan(1.5) + math.tan(-2.0)),
        (transforms.Tangent(clip=3.0), 3.0),
        (transforms.Cosecant(), 1 / math.sin(1.5) + 1 / math.sin(-2.0)),
        (transforms.Cosecant(clip=0.05), -0.05),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_transforms_of_two_latents(transform: transforms.Transform, expected: float) -> None:
    z_BMJ = torch.tensor([[[1.5, -2.0]]], dtype=torch.float64)
    assert transform(z_BMJ).shape == (1, 1, 1)
    assert transform(z_BMJ).item() == pytest.approx(expected)


def test_discrete_targets_know_their_spacing() -> None:
    assert LatentFunction().spacing == 5.0
    assert LatentFunction(transforms.Floor(10.0)).spacing == 10.0
    assert LatentFunction(transforms.Sign()).spacing == 2.0
    assert LatentFunction(transforms.Identity()).spacing is None
    noisy = LatentFunction(transforms.Floor(10.0), noise_sd=1.0)
    assert noisy.spacing is None
    assert noisy.name == "noisy floor"
    assert Steps().spacing is None
    assert Steps(noise_sd=0.0).spacing == 2.0
    clean = at(LatentFunction(transforms.Floor(10.0)), 0.1)
    assert_mean((at(noisy, 0.1) - clean).square()[:, 0], 1.0)  # the same latents come from the same generator


def test_many_points_close_together_are_drawn_exactly() -> None:
    x_BM1 = torch.linspace(0, 1e-3, 50)[:, None].expand(20, -1, -1)
    y_BM = LatentFunction(transforms.Identity()).targets(x_BM1, task_generator(0, "targets"))[..., 0]
    assert (y_BM - y_BM[:, :1]).abs().max() < 0.02

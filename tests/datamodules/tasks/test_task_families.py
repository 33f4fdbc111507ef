"""The task families: moments, parities, noise, pictures and refusals."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
import torch
from moments import NUM_TASKS, assert_mean, at
from scipy import stats

from datamodules.tasks import (
    Constant,
    ExponentialNoise,
    FixedNoise,
    LatentFunction,
    MixedNoise,
    Noise,
    PacohCauchy,
    PacohSinusoid,
    RandomScaleProcess,
    RelativeNoise,
    Sinusoid,
    SplitName,
    Steps,
    Tangent,
    TaskFamily,
    transforms,
)
from datamodules.tasks.generators import task_generator

SD = math.sqrt(1 + math.log(2))
"""Of the latents."""

FAMILIES: list[TaskFamily] = [
    Sinusoid(),
    Sinusoid(test_x_range=(-5, 10)),
    Tangent(),
    LatentFunction(),
    LatentFunction(transforms.Product(), latent_dim=3, input_dim=2, noise_sd=0.1),
    Steps(),
    Constant(),
    PacohSinusoid(),
    PacohCauchy(),
    RandomScaleProcess(),
]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_draw_is_a_function_of_its_generator(family: TaskFamily) -> None:
    first, again = (family.draw(30, 12, task_generator(1, "train", 5)) for _ in range(2))
    other = family.draw(30, 12, task_generator(1, "train", 6))
    assert first.x.shape == (30, 12, family.input_dim)
    assert first.y.shape == (30, 12, 1)
    assert first.x.dtype == first.y.dtype == torch.float32
    assert first.x.isfinite().all()
    assert first.y.isfinite().all()
    assert first.mask.all()
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.isclose(first.x, other.x).any(dim=-1).all(dim=1).any()
    assert len(set(first.y[:, 0, 0].tolist())) > 1


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_pictures_have_ordered_queries_of_the_same_function(family: TaskFamily) -> None:
    points = family.curves(3, 4, 60, task_generator(1, "pictures"))
    if family.input_dim > 1:
        assert points is None
        return
    assert points is not None
    low, high = family.picture_range
    assert torch.allclose(points.x[:, 4:, 0], torch.linspace(low, high, 60).expand(3, -1))
    assert points.x[:, :4].unique().numel() == 12
    assert points.y.shape == (3, 64, 1)


def test_pictures_are_of_one_function() -> None:
    points = LatentFunction(transforms.Identity()).curves(50, 10, 400, task_generator(1, "pictures"))
    assert points is not None
    order = points.x.argsort(dim=1)
    steps = points.y.take_along_dim(order, dim=1).diff(dim=1) / points.x.take_along_dim(order, dim=1).diff(dim=1)
    inside = points.x.abs().amax(dim=(1, 2)) < 2.6  # so that neighbours are near
    assert inside.sum() > 10
    assert steps[inside].nan_to_num(0.0).abs().quantile(0.999) < 6 * SD / 0.974  # its slope has sd SD / lengthscale


def test_sinusoids_have_the_moments_of_their_ranges() -> None:
    points = Sinusoid().draw(NUM_TASKS, 2, task_generator(0, "train"))
    mean_square = (5**3 - 0.1**3) / (3 * 4.9)
    assert_mean(points.y[:, 0, 0], 0.0)
    assert_mean(points.y[:, 0, 0].square(), mean_square * (0.5 + 1e-4))
    assert stats.kstest(points.x[:, 0, 0].numpy(), stats.uniform(-5, 10).cdf).pvalue > 1e-3
    period = at(Sinusoid(frequency=(2, 2), noise=FixedNoise(0.0)), 0.3, 0.3 + math.pi / 2, 0.3 + math.pi)
    assert torch.allclose(period[:, 0], -period[:, 1], atol=1e-5)
    assert torch.allclose(period[:, 0], period[:, 2], atol=1e-5)


def test_only_test_tasks_are_out_of_range() -> None:
    family = Sinusoid(test_x_range=(-5, 10))
    largest = {
        split: float(family.draw(500, 10, task_generator(0, "x"), split=split).x.max()) for split in get_args(SplitName)
    }
    assert max(largest["train"], largest["val"]) <= 5
    assert largest["test"] > 9.9
    assert family.picture_range == (-5, 10)


@pytest.mark.parametrize(
    ("noise", "sd"),
    [
        (RelativeNoise(), lambda amplitude, place: 0.01 * amplitude),
        (FixedNoise(0.2), lambda amplitude, place: 0.2),
        (MixedNoise(), lambda amplitude, place: 0.1 * place),
        (ExponentialNoise(), lambda amplitude, place: 0.5),
    ],
    ids=["relative", "fixed", "mixed", "exponential"],
)
def test_noise_has_its_scale(noise: Noise, sd: Callable[[float, float], float]) -> None:
    amplitude, phase, x = 3.0, 0.5, -2.0
    family = Sinusoid((amplitude, amplitude), frequency=(1, 1), phase=(phase, phase), noise=noise)
    residuals = at(family, x)[:, 0] - amplitude * math.sin(x + phase)
    mean = 0.5 if isinstance(noise, ExponentialNoise) else 0.0
    assert_mean(residuals, mean)
    assert_mean((residuals - mean).square(), sd(amplitude, abs(x + phase)) ** 2)
    assert (residuals.min() >= -1e-6) == (mean > 0)


def test_tangents_are_clipped() -> None:
    y = Tangent().draw(1000, 10, task_generator(0, "train")).y
    assert y.abs().max() == 10.0
    assert 0.05 < float((y.abs() == 10.0).float().mean()) < 0.4
    family = Tangent((1, 1), frequency=(1, 1), phase=(0, 0), noise=FixedNoise(0.0))
    assert at(family, 1.0)[0, 0].item() == pytest.approx(math.tan(1.0))


def test_steps_start_low_and_alternate() -> None:
    points = Steps(noise_sd=0.0).curves(500, 0, 400, task_generator(0, "pictures"))
    assert points is not None
    y_BM = points.y[..., 0]
    assert set(y_BM.unique().tolist()) == {-1.0, 1.0}
    assert (y_BM[:, points.x[0, :, 0] < -2.5] == -1).all()
    assert (y_BM[:, points.x[0, :, 0] > 2.5] == 1).all()  # three switches, all of them passed
    changes_B = (y_BM.diff(dim=1) != 0).sum(dim=1)
    assert set(changes_B.tolist()) <= {1, 3}  # two switches between two points of the grid cannot be seen
    assert (changes_B == 3).float().mean() > 0.9


@pytest.mark.parametrize("x", [-1.0, 0.6, 2.0])
def test_steps_have_the_parity_of_uniform_switches(x: float) -> None:
    passed = (x + 2.5) / 5
    y_B = at(Steps(), x)[:, 0]
    assert_mean(y_B, -((1 - 2 * passed) ** 3))
    assert_mean((y_B - y_B.sign()).square(), 0.03**2)


def test_constants_are_constant() -> None:
    points = Constant().draw(NUM_TASKS, 3, task_generator(0, "train"))
    assert (points.y == points.y[:, :1]).all()
    assert points.x.shape[-1] == 2
    assert stats.kstest(points.y[:, 0, 0].numpy(), "uniform").pvalue > 1e-3


def test_pacoh_sinusoid_has_its_moments() -> None:
    x = 0.8
    y_B = at(PacohSinusoid(), x)[:, 0]
    wave, shrink = math.sin(1.5 * x), math.exp(-0.5 * 0.15**2)
    assert_mean(y_B, 0.5 * x + 5 + shrink * wave)
    square = (1 - math.cos(3 * x) * math.exp(-0.5 * 0.3**2)) / 2  # of sin(1.5 (x - s))
    wave_variance = (1 + 0.6**2 / 12) * square - (shrink * wave) ** 2
    assert_mean((y_B - y_B.mean()).square(), (0.2 * x) ** 2 + 0.1**2 + 0.1**2 + wave_variance)


def test_pacoh_cauchy_has_its_moments() -> None:
    family = PacohCauchy()
    x_BM2 = torch.tensor([[-1.0, -1.0], [-1.0, 0.0]]).expand(NUM_TASKS, -1, -1)
    y_BM = family.targets(x_BM2, task_generator(0, "targets"))[..., 0]
    residuals_BM = y_BM - family.common_mean(x_BM2)[..., 0]
    assert family.common_mean(x_BM2)[0, 0].item() == pytest.approx(6 / math.pi + 3 / (math.pi * 19) + 1)
    assert_mean(residuals_BM[:, 0], 0.0)
    assert_mean(residuals_BM[:, 0].square(), 0.2**2 + 0.05**2)
    assert_mean(residuals_BM.prod(dim=1), 0.2**2 * math.exp(-1.0))
    x = family.draw(NUM_TASKS, 1, task_generator(0, "train")).x[:, 0, 1].numpy()
    assert stats.kstest(x, stats.truncnorm(-3, 2, scale=2.5).cdf).pvalue > 1e-3


def test_random_scale_processes_have_their_moments() -> None:
    assert_mean(at(RandomScaleProcess(), 0.5)[:, 0].square(), (1 - 0.1**3) / (3 * 0.9) + 0.02**2)
    y_BM = at(RandomScaleProcess((0.3, 0.3), scale=(0.5, 0.5)), 0.0, 0.3)
    assert_mean(y_BM.prod(dim=1), 0.25 * math.exp(-0.5))


def test_the_digest_tells_settings_apart() -> None:
    assert LatentFunction().digest == LatentFunction(transforms.Floor(5.0)).digest
    assert Sinusoid().digest == Sinusoid(name="sine").digest
    others = [
        LatentFunction(transforms.Floor(4.0)),
        LatentFunction(transforms.Sign()),
        LatentFunction(lengthscale=1.0),
        Sinusoid(),
        Sinusoid(noise=FixedNoise()),
        Sinusoid(noise=MixedNoise()),
        Tangent(),
    ]
    assert len({family.digest for family in [LatentFunction(), *others]}) == len(others) + 1


def test_a_family_that_sets_no_name_has_that_of_its_class() -> None:
    class Own(Sinusoid):
        def __init__(self) -> None:
            TaskFamily.__init__(self)

    assert (Own().name, Sinusoid().name, Sinusoid(name="sine").name) == ("Own", "sinusoid", "sine")


def test_the_digest_of_settings_that_have_none_is_refused() -> None:
    family = Constant()
    family.levels = {"low": 1.0}  # type: ignore[attr-defined]
    first = family.digest
    family = Constant()
    family.levels = {"low": 2.0}  # type: ignore[attr-defined]
    assert family.digest != first
    family = Constant()
    family.path = Path("x")  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="a setting of type PosixPath, which has no digest"):
        _ = family.digest


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sinusoid((5, 0.1)), r"amplitude=\[5, 0.1\] must be \[low, high\]"),
        (lambda: Sinusoid((-1, 1)), r"amplitude=\[-1, 1\] must be"),
        (lambda: Sinusoid(x_range=(0, math.nan)), r"x_range=\[0, nan\]"),
        (lambda: Sinusoid(noise=FixedNoise(-0.1)), r"scale=-0.1 must be at least 0"),
        (lambda: Tangent(clip=0), "clip=0 must be positive"),
        (lambda: LatentFunction(latent_dim=0), "latent_dim=0 must be at least 1"),
        (lambda: LatentFunction(lengthscale=0.0), "lengthscale=0.0 must be positive"),
        (lambda: LatentFunction(transforms.Floor(0)), "step=0 must be positive"),
        (lambda: Steps(noise_sd=-1), "noise_sd=-1 must be at least 0"),
        (lambda: Steps(switch_range=(1, -1)), r"switch_range=\[1, -1\]"),
        (lambda: Constant(0), "input_dim=0 must be at least 1"),
        (lambda: PacohCauchy(noise_sd=math.inf), "noise_sd=inf"),
        (lambda: RandomScaleProcess((0, 1)), r"lengthscale=\[0, 1\]"),
    ],
)
def test_bad_settings_are_refused(make: Callable[[], TaskFamily], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()

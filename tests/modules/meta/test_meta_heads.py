"""Heads make proper distributions: they integrate to one, and density, cdf, quantiles and draws tell the same story."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import scipy.stats
import torch

from modules.contracts import Predictive
from modules.contracts.predictive import MAX_JOINT_QUERIES
from modules.meta import HistogramHead, HistogramPredictive, MixtureHead, PredictiveHead

HEADS = [MixtureHead, HistogramHead]


def predictive(head: type[PredictiveHead], *, num_queries: int = 3, output_dim: int = 1) -> Predictive:
    """Two tasks; logits large enough for peaks, tails and holes, yet with mass everywhere."""
    torch.manual_seed(5)
    layer = head(8, output_dim).double()
    with torch.no_grad():
        return layer(2 * torch.randn(2, num_queries, 8, dtype=torch.float64))


def heavy_tails() -> HistogramPredictive:
    """Five places by hand: tails of .2 and .3, bins of width 2 between -3 and 3."""
    masses = torch.tensor([0.2, 0.1, 0.15, 0.25, 0.3], dtype=torch.float64)
    return HistogramPredictive(masses.log().view(1, 1, 1, 5), 3.0)


@pytest.mark.parametrize("head", HEADS)
def test_density_integrates_to_one_and_to_the_cdf(head: type[PredictiveHead]) -> None:
    told = predictive(head)
    step = 0.02  # half a bin; middles of steps
    middles_G = torch.arange(-60, 60, step, dtype=torch.float64) + step / 2
    density_GBQ = torch.stack([told.log_prob(y.expand(2, 3, 1)).value.exp() for y in middles_G])
    below_GBQ = torch.stack([told.cdf((y + step / 2).expand(2, 3, 1))[..., 0] for y in middles_G])
    area_GBQ = density_GBQ.cumsum(dim=0) * step
    assert (area_GBQ[-1] - 1).abs().max() < 1e-5
    assert (area_GBQ - below_GBQ).abs().max() < 1e-3


@pytest.mark.parametrize("head", HEADS)
def test_quantile_inverts_the_cdf(head: type[PredictiveHead]) -> None:
    told = predictive(head)
    levels = torch.tensor([1e-9, 1e-4, 0.05, 0.31, 0.5, 0.77, 0.999, 1 - 1e-9], dtype=torch.float64)
    values = told.quantile(levels)
    assert values.shape == (8, 2, 3, 1)
    assert (values.diff(dim=0) > 0).all()
    for level, value in zip(levels, values, strict=True):
        torch.testing.assert_close(told.cdf(value), level.expand(2, 3, 1), rtol=1e-6, atol=1e-14)


@pytest.mark.parametrize("head", HEADS)
def test_draws_follow_the_cdf(head: type[PredictiveHead]) -> None:
    told = predictive(head)
    draws = told.sample(4000, generator=torch.Generator().manual_seed(1))
    levels = torch.stack([told.cdf(draw) for draw in draws]).flatten(1)
    for column in levels.T:
        assert scipy.stats.kstest(column, "uniform").pvalue > 1e-3
    sd = draws.std(dim=0)
    assert ((draws.mean(dim=0) - told.mean).abs() < 4 * sd / math.sqrt(4000)).all()


@pytest.mark.parametrize("head", HEADS)
def test_mass_is_that_of_the_density(head: type[PredictiveHead]) -> None:
    told = predictive(head)
    low = torch.tensor([[-70.0, -5.0, -0.7], [0.3, 3.9, -4.1]], dtype=torch.float64)[..., None]
    high = low + torch.tensor([[140.0, 6.0, 0.01], [1.0, 9.0, 0.2]], dtype=torch.float64)[..., None]
    masses = told.log_mass(low, high).value.exp()
    torch.testing.assert_close(masses, (told.cdf(high) - told.cdf(low))[..., 0], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("head", HEADS)
def test_several_targets_and_joint_densities_are_products(head: type[PredictiveHead]) -> None:
    told = predictive(head, output_dim=2)
    y = torch.randn(2, 3, 2, dtype=torch.float64)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    alone = told.log_prob(y).value
    torch.testing.assert_close(told.joint_log_prob(y).value, alone.sum(dim=1))
    y[~mask] = 1e3
    torch.testing.assert_close(told.joint_log_prob(y, mask).value, torch.stack([alone[0, :2].sum(), alone[1, 0]]))
    assert told.sample(7, joint=True).shape == (7, 2, 3, 2)
    assert told.mean.shape == told.cdf(y).shape == (2, 3, 2)


@pytest.mark.parametrize("head", HEADS)
def test_joint_of_too_many_queries_is_refused(head: type[PredictiveHead]) -> None:
    told = predictive(head, num_queries=MAX_JOINT_QUERIES + 1)
    with pytest.raises(ValueError, match=f"{MAX_JOINT_QUERIES + 1} queries"):
        told.sample(1, joint=True)
    with pytest.raises(ValueError, match=f"{MAX_JOINT_QUERIES + 1} queries"):
        told.joint_log_prob(told.mean)


def test_histogram_by_hand() -> None:
    told = heavy_tails()
    places = torch.tensor([-3.0, -2.0, 0.5, 2.9, 3.0 + 1e-12, 6.0], dtype=torch.float64)
    density = torch.stack([told.log_prob(y.view(1, 1, 1)).value for y in places]).exp().flatten()
    tail = math.sqrt(2 / math.pi) / 3  # density of a half-normal of scale 3 where it starts
    expected = [0.05, 0.05, 0.075, 0.125, 0.3 * tail, 0.3 * tail * math.exp(-0.5)]
    torch.testing.assert_close(density, torch.tensor(expected, dtype=torch.float64))
    cdf = torch.stack([told.cdf(y.view(1, 1, 1)) for y in torch.tensor([-3.0, -1.0, 0.0, 3.0]).double()]).flatten()
    torch.testing.assert_close(cdf, torch.tensor([0.2, 0.3, 0.375, 0.7], dtype=torch.float64))
    mean = 0.1 * (3 + 3 * math.sqrt(2 / math.pi)) + 0.1 * -2 + 0.25 * 2
    torch.testing.assert_close(told.mean, torch.full((1, 1, 1), mean, dtype=torch.float64))


def test_histogram_mass_keeps_its_digits_far_out() -> None:
    far = heavy_tails().log_mass(*(torch.full((1, 1, 1), y, dtype=torch.float64) for y in (303.0, 603.0))).value
    assert far.item() == pytest.approx(math.log(0.6) + scipy.stats.norm.logsf(100.0), rel=1e-12)
    nothing = torch.zeros(1, 1, 1, dtype=torch.float64)
    assert heavy_tails().log_mass(nothing, nothing).value.item() == -math.inf


def test_a_single_precision_histogram_without_tails_stays_finite() -> None:
    logits = torch.full((1, 1, 1, 12), -200.0)  # all mass in two bins, others underflow
    logits[..., 5:7] = 0.0
    told = HistogramPredictive(logits, 5.0)
    draws = told.sample(10_000, generator=torch.Generator().manual_seed(0))
    assert draws.min() >= -1
    assert draws.max() <= 1
    assert told.quantile(torch.tensor([1e-6, 1 - 1e-6])).isfinite().all()
    assert told.log_prob(torch.full((1, 1, 1), 40.0)).value.isfinite().all()


@pytest.mark.parametrize("head", HEADS)
def test_density_of_a_repeated_target_has_a_bound(head: type[PredictiveHead]) -> None:
    layer = head(1)
    target, one = torch.zeros(9, 1, 1), torch.ones(9, 1, 1)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
    for _ in range(500):
        optimizer.zero_grad()
        loss = -layer(one).log_prob(target).value.mean()
        loss.backward()
        optimizer.step()
    narrowest = math.sqrt(2 * math.pi * 1e-3) if head is MixtureHead else 0.04
    assert math.log(narrowest) - 1e-4 < loss.item() < math.log(narrowest) + 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MixtureHead(4, num_components=0), "num_components=0 must be at least 1"),
        (lambda: HistogramHead(4, num_bins=0), "num_bins=0 must be at least 1"),
        (lambda: HistogramHead(4, limit=-1.0), "limit=-1.0 must be positive"),
        (lambda: HistogramHead(4, limit=math.inf), "limit=inf must be positive and finite"),
    ],
)
def test_refuses_empty_heads(make: Callable[[], PredictiveHead], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()

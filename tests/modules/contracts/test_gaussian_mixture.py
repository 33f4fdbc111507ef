"""Mixtures of Gaussians against torch.distributions, quadrature and their own draws."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import kstest
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal

from modules.contracts import GaussianMixture, JointGaussians, ScaledPredictive, Scaling
from modules.scores import crps

S, B, Q, Y = 7, 3, 4, 2


def mixture(*, per_query: bool = False, output_dim: int = Y, sampled: bool = False) -> GaussianMixture:
    generator = torch.Generator().manual_seed(1)
    options = {"generator": generator, "dtype": torch.float64}
    weights = torch.randn((S, B, Q) if per_query else (S, B), **options)
    means, sds = torch.randn(S, B, Q, output_dim, **options), 0.1 + torch.rand(S, B, Q, output_dim, **options)
    return GaussianMixture(3 * means, sds.square(), weights, sampled=sampled)


def targets(output_dim: int = Y) -> Tensor:
    return torch.randn(B, Q, output_dim, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def as_distribution(predictive: GaussianMixture) -> MixtureSameFamily:
    weights = predictive.log_weights
    weights = weights if weights.ndim == 3 else weights[..., None].expand(S, B, Q)
    components = Normal(predictive.means_SBQY.movedim(0, 2), predictive.variances_SBQY.sqrt().movedim(0, 2))
    return MixtureSameFamily(Categorical(logits=weights.movedim(0, -1)), Independent(components, 1))


@pytest.mark.parametrize("per_query", [False, True])
def test_log_prob_and_mean_are_those_of_torch(per_query: bool) -> None:
    predictive, y = mixture(per_query=per_query), targets()
    truth = as_distribution(predictive)
    torch.testing.assert_close(predictive.log_prob(y).value, truth.log_prob(y), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(predictive.mean, truth.mean, rtol=1e-12, atol=1e-12)
    assert predictive.log_prob(y).error.abs().max() == 0


def test_joint_log_prob_sums_inside_the_mixture() -> None:
    predictive, y = mixture(), targets()
    components = Normal(predictive.means_SBQY, predictive.variances_SBQY.sqrt()).log_prob(y).sum(dim=(-2, -1))
    expected = torch.logsumexp(components + predictive.log_weights, dim=0)
    torch.testing.assert_close(predictive.joint_log_prob(y).value, expected, rtol=1e-12, atol=1e-12)


def test_joint_log_prob_of_independent_queries_is_a_sum_and_leaves_masked_ones_out() -> None:
    predictive, y = mixture(per_query=True), targets()
    mask = torch.tensor([True, False, True, True]).expand(B, Q)
    expected = (predictive.log_prob(y).value * mask).sum(dim=1)
    torch.testing.assert_close(predictive.joint_log_prob(y, mask).value, expected, rtol=1e-12, atol=1e-12)


def test_cdf_quantile_and_mass_agree() -> None:
    predictive = mixture(output_dim=1)
    levels = torch.tensor([0.05, 0.5, 0.99], dtype=torch.float64)
    quantiles = predictive.quantile(levels)
    for level, quantile in zip(levels, quantiles, strict=True):
        torch.testing.assert_close(predictive.cdf(quantile), level.expand(B, Q, 1), rtol=1e-9, atol=1e-12)
    mass = (predictive.cdf(quantiles[2]) - predictive.cdf(quantiles[0]))[..., 0]
    torch.testing.assert_close(predictive.log_mass(quantiles[0], quantiles[2]).value.exp(), mass, rtol=1e-9, atol=0)


@pytest.mark.parametrize(("low", "high", "expected"), [(20.0, 21.0, -203.917155), (-21.0, -20.0, -203.917155)])
def test_mass_of_far_tails_keeps_its_digits(low: float, high: float, expected: float) -> None:
    standard = GaussianMixture(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1))
    mass = standard.log_mass(torch.full((1, 1, 1), low), torch.full((1, 1, 1), high)).value
    assert mass.item() == pytest.approx(expected, abs=1e-3)  # log_ndtr(-20) less a factor 1 - 5e-10


@pytest.mark.parametrize(("score", "expected"), [(-6.0, 9.8658765e-10), (-12.0, 1.7764821e-33), (9.0, 1.0)])
def test_cdf_of_far_tails_keeps_its_digits_in_float32(score: float, expected: float) -> None:
    wide = GaussianMixture(torch.ones(1, 1, 1, 1), torch.full((1, 1, 1, 1), 4.0))
    assert wide.cdf(torch.full((1, 1, 1), 1 + 2 * score)).item() == pytest.approx(expected, rel=1e-5)


def test_quantiles_of_a_far_tail_come_back_in_float32() -> None:
    standard = GaussianMixture(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1))
    assert standard.quantile(torch.tensor([9.8658765e-10])).item() == pytest.approx(-6.0, rel=1e-5)


def test_density_integrates_to_one() -> None:
    predictive = mixture(output_dim=1)
    grid = torch.linspace(-20, 20, 4001, dtype=torch.float64)
    density = torch.stack([predictive.log_prob(y.expand(B, Q, 1)).value.exp() for y in grid])
    torch.testing.assert_close(torch.trapezoid(density, grid, dim=0), torch.ones(B, Q, dtype=torch.float64))


@pytest.mark.parametrize("per_query", [False, True])
@pytest.mark.parametrize("joint", [False, True])
def test_draws_follow_the_cdf(per_query: bool, joint: bool) -> None:
    predictive = mixture(per_query=per_query, output_dim=1)
    draws = predictive.sample(2000, joint=joint, generator=torch.Generator().manual_seed(3))
    places = torch.stack([predictive.cdf(y) for y in draws])[..., 0]
    assert min(kstest(places[:, b, q], "uniform").pvalue for b in range(B) for q in range(Q)) > 1e-4


def test_joint_draws_keep_the_component() -> None:
    """Queries of a draw come from one component: their correlation is that of the component means."""
    means = torch.tensor([-5.0, 5.0]).reshape(2, 1, 1, 1).expand(2, 1, 2, 1)
    predictive = GaussianMixture(means, torch.full((1, 1, 1, 1), 0.01))
    joint = predictive.sample(100, joint=True, generator=torch.Generator().manual_seed(0))
    assert (joint[:, 0, 0].sign() == joint[:, 0, 1].sign()).all()


def test_queries_with_weights_of_their_own_are_drawn_independently() -> None:
    means = torch.tensor([-5.0, 5.0]).reshape(2, 1, 1, 1).expand(2, 3, 4, 1)
    predictive = GaussianMixture(means, torch.full((1, 1, 1, 1), 0.01), torch.zeros(2, 3, 4))
    draws = predictive.sample(4000, joint=True, generator=torch.Generator().manual_seed(0))
    assert ((draws > 0).sum(dim=0) - 2000).abs().max() < 5 * 1000**0.5  # each mode has its share
    correlations = torch.stack([torch.corrcoef(of_task[..., 0].T) for of_task in draws.movedim(1, 0)])
    assert (correlations - torch.eye(4)).abs().max() < 5 / 4000**0.5


def test_draws_are_independent_so_that_scores_of_pairs_are_fair() -> None:
    """CRPS of a mixture of 20 narrow components is E|X - y| - E|X - X'| / 2; 50 even draws would give less."""
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(20, 1, 1, 1, generator=generator).expand(20, 3000, 1, 1)
    draws = GaussianMixture(means, torch.full((1, 1, 1, 1), 1e-12)).sample(50, generator=generator)
    scores = crps(draws[..., 0], torch.zeros(3000, 1))
    values = means[:, 0, 0, 0]
    exact = values.abs().mean() - (values[:, None] - values).abs().mean() / 2
    assert scores.mean().item() == pytest.approx(exact.item(), abs=4 * scores.std().item() / 3000**0.5)
    assert scores.std().item() / 3000**0.5 < 0.01 * exact.item()


def test_the_error_is_the_spread_over_repetitions() -> None:
    """The Monte-Carlo error of log_prob equals the standard deviation over independent sets of draws."""
    generator = torch.Generator().manual_seed(0)
    y = torch.full((400, 1, 1), 0.7)
    estimate = GaussianMixture(
        torch.randn(500, 400, 1, 1, generator=generator), torch.full((1, 1, 1, 1), 0.04), sampled=True
    ).log_prob(y)
    assert estimate.error.mean().item() == pytest.approx(estimate.value.std().item(), rel=0.15)
    truth = Normal(0.0, math.sqrt(1.04)).log_prob(torch.tensor(0.7))
    assert estimate.value.mean().item() == pytest.approx(truth.item(), abs=0.01)


def joint_gaussians() -> JointGaussians:
    generator = torch.Generator().manual_seed(4)
    roots = torch.randn(S, B, Y, Q, Q, generator=generator, dtype=torch.float64)
    means = torch.randn(S, B, Q, Y, generator=generator, dtype=torch.float64)
    return JointGaussians(means, roots @ roots.mT + torch.eye(Q), torch.randn(S, B, generator=generator).double())


def test_joint_gaussians_are_those_of_torch() -> None:
    joint, y = joint_gaussians(), targets()
    parts = MultivariateNormal(joint.means_SBQY.mT, joint.covariances_SBYQQ).log_prob(y.mT).sum(dim=-1)
    expected = torch.logsumexp(parts + joint.log_weights_SB, dim=0)
    torch.testing.assert_close(joint.joint_log_prob(y).value, expected, rtol=1e-10, atol=1e-10)


def test_joint_gaussians_marginalise_masked_queries() -> None:
    joint, y = joint_gaussians(), targets()
    mask = torch.tensor([True, False, True, False]).expand(B, Q)
    kept = JointGaussians(
        joint.means_SBQY[:, :, ::2], joint.covariances_SBYQQ[..., ::2, ::2], joint.log_weights_SB
    ).joint_log_prob(y[:, ::2])
    torch.testing.assert_close(joint.joint_log_prob(y, mask).value, kept.value, rtol=1e-10, atol=1e-10)


def test_joint_gaussian_draws_have_their_covariance() -> None:
    joint = joint_gaussians()
    single = JointGaussians(joint.means_SBQY[:1], joint.covariances_SBYQQ[:1])
    draws = single.sample(40_000, generator=torch.Generator().manual_seed(5))
    covariance = torch.cov(draws[:, 1, :, 1].T)
    torch.testing.assert_close(covariance, single.covariances_SBYQQ[0, 1, 1], rtol=0.05, atol=0.15)


def test_a_covariance_shared_by_components_is_that_of_each() -> None:
    joint, y = joint_gaussians(), targets()
    shared = JointGaussians(joint.means_SBQY, joint.covariances_SBYQQ[:1], joint.log_weights_SB)
    covariances = joint.covariances_SBYQQ[:1].expand(S, -1, -1, -1, -1)
    repeated = JointGaussians(joint.means_SBQY, covariances, joint.log_weights_SB)
    torch.testing.assert_close(shared.joint_log_prob(y), repeated.joint_log_prob(y), rtol=1e-12, atol=1e-12)
    draws = [each.sample(50, generator=torch.Generator().manual_seed(5)) for each in (shared, repeated)]
    torch.testing.assert_close(*draws, rtol=1e-12, atol=1e-12)


def test_draws_of_joint_gaussians_take_components_by_their_weights() -> None:
    means = torch.tensor([-10.0, 10.0]).view(2, 1, 1, 1).expand(2, 1, 2, 1)
    covariance = torch.tensor([[1.0, 0.9], [0.9, 1.0]]).view(1, 1, 1, 2, 2)
    joint = JointGaussians(means, covariance, torch.tensor([[0.2], [0.8]]).log())
    draws = joint.sample(5000, generator=torch.Generator().manual_seed(0))[:, 0, :, 0]
    assert (draws[:, 0] > 0).float().mean().item() == pytest.approx(0.8, abs=4 * 0.4 / 5000**0.5)
    assert (draws[:, 0].sign() == draws[:, 1].sign()).all()
    upper = draws[draws[:, 0] > 0]
    assert torch.corrcoef(upper.T)[0, 1].item() == pytest.approx(0.9, abs=0.02)


def test_too_many_joint_queries_are_refused() -> None:
    wide = GaussianMixture(torch.zeros(1, 1, 300, 1), torch.ones(1, 1, 1, 1))
    with pytest.raises(ValueError, match=r"300 queries is refused above 256"):
        wide.sample(1, joint=True)
    with pytest.raises(ValueError, match=r"300 queries"):
        wide.joint_log_prob(torch.zeros(1, 300, 1))


def test_scaling_changes_units_and_nothing_else() -> None:
    scaling = Scaling(*(torch.tensor(v, dtype=torch.float64) for v in ([0.0], [1.0], [3.0, -1.0], [10.0, 0.5])))
    inner = mixture()
    scaled = ScaledPredictive(inner, scaling)
    direct = GaussianMixture(
        inner.means_SBQY * scaling.y_scale + scaling.y_mean,
        inner.variances_SBQY * scaling.y_scale**2,
        inner.log_weights,
    )
    y = 4 * targets()
    mask = torch.tensor([True, True, False, True]).expand(B, Q)
    calls = ("log_prob", (y,)), ("joint_log_prob", (y,)), ("joint_log_prob", (y, mask)), ("log_mass", (y, y + 1))
    for name, arguments in calls:
        ours, theirs = getattr(scaled, name)(*arguments), getattr(direct, name)(*arguments)
        torch.testing.assert_close(ours.value, theirs.value, rtol=1e-10, atol=1e-10)
    for joint in (False, True):
        draws = [each.sample(9, joint=joint, generator=torch.Generator().manual_seed(0)) for each in (scaled, direct)]
        torch.testing.assert_close(*draws)
    torch.testing.assert_close(scaled.cdf(y), direct.cdf(y))
    torch.testing.assert_close(scaled.mean, direct.mean)
    levels = torch.tensor([0.2, 0.8])
    torch.testing.assert_close(scaled.quantile(levels), direct.quantile(levels))

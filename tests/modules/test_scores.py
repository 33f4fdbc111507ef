"""Scores against closed forms, naive loops and torchmetrics."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Generator, Tensor
from torchmetrics.regression import ContinuousRankedProbabilityScore

from modules.contracts import FewShotTasks, GaussianMixture
from modules.scores import (
    TaskScores,
    calibration_error,
    coverage,
    crps,
    energy_score,
    kde_nll,
    paired_differences,
    pit,
    published_nll,
    summary,
    task_scores,
    uniform_distance,
)


@pytest.fixture
def generator() -> Generator:
    return Generator().manual_seed(2)


def normal(generator: Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def few_shot(y_BQY: Tensor, mask_BQ: Tensor) -> FewShotTasks:
    nothing = y_BQY.new_zeros(len(y_BQY), 0, 1)
    no_mask = torch.zeros(len(y_BQY), 0, dtype=torch.bool)
    return FewShotTasks(nothing, nothing, no_mask, y_BQY[..., :1], y_BQY, mask_BQ, int(mask_BQ.sum()))


def test_crps_is_that_of_all_pairs(generator: Generator) -> None:
    samples, y = normal(generator, 7, 2, 3), normal(generator, 2, 3)
    pairs = sum((samples[s] - samples[t]).abs() for s in range(7) for t in range(7))
    expected = (samples - y).abs().mean(dim=0) - pairs / (2 * 7 * 6)
    torch.testing.assert_close(crps(samples, y), expected, rtol=1e-12, atol=1e-12)


def test_crps_is_torchmetrics_but_fair(generator: Generator) -> None:
    """torchmetrics divides the second term by S^2."""
    samples, y = normal(generator, 50, 11), normal(generator, 11)
    theirs = ContinuousRankedProbabilityScore().set_dtype(torch.float64)(samples.T, y)
    spread = (samples[:, None] - samples).abs().sum(dim=(0, 1)) / 2
    ours = crps(samples, y) + spread / (50 * 49) - spread / 50**2
    torch.testing.assert_close(ours.mean(), theirs.squeeze().double(), rtol=1e-6, atol=1e-6)


def test_crps_and_kde_of_a_gaussian(generator: Generator) -> None:
    """Both have a closed form."""
    y = torch.linspace(-3, 3, 9, dtype=torch.float64)
    samples = normal(generator, 400_000, 1).expand(-1, 9)
    density = torch.exp(-0.5 * y**2) / math.sqrt(2 * math.pi)
    expected = y * (2 * torch.special.ndtr(y) - 1) + 2 * density - 1 / math.sqrt(math.pi)
    torch.testing.assert_close(crps(samples, y), expected, rtol=0, atol=5e-3)
    smoothed = torch.distributions.Normal(0.0, math.sqrt(1.05)).log_prob(y)
    torch.testing.assert_close(kde_nll(samples, y), -smoothed, rtol=0, atol=0.02)


def test_crps_of_two_draws_has_the_expectation_of_many(generator: Generator) -> None:
    two = crps(normal(generator, 2, 200_000), torch.zeros(200_000, dtype=torch.float64)).mean()
    assert two.item() == pytest.approx((math.sqrt(2) - 1) / math.sqrt(math.pi), abs=0.006)


def test_energy_score_is_that_of_all_pairs_and_ignores_filler(generator: Generator) -> None:
    samples, y = normal(generator, 6, 2, 3, 2), normal(generator, 2, 3, 2)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    for task in range(2):
        draws = samples[:, task][:, mask[task]].flatten(start_dim=1)
        target = y[task][mask[task]].flatten()
        pairs = sum((draws[s] - draws[t]).norm() for s in range(6) for t in range(6))
        expected = (draws - target).norm(dim=1).mean() - pairs / (2 * 6 * 5)
        torch.testing.assert_close(energy_score(samples, y, mask)[task], expected, rtol=1e-12, atol=1e-12)


def test_energy_score_of_one_target_is_crps(generator: Generator) -> None:
    samples, y = normal(generator, 20, 4, 1, 1), normal(generator, 4, 1, 1)
    torch.testing.assert_close(energy_score(samples, y), crps(samples, y)[:, 0, 0])


def test_energy_score_prefers_the_right_correlation(generator: Generator) -> None:
    shared = normal(generator, 4000, 1, 1).expand(-1, 2, 1)
    right = normal(generator, 100, 4000, 1, 1).expand(-1, -1, 2, 1)
    wrong = normal(generator, 100, 4000, 2, 1)
    assert energy_score(wrong, shared).mean() > energy_score(right, shared).mean() + 0.02


def test_a_fair_score_refuses_one_draw() -> None:
    with pytest.raises(ValueError, match="at least 2 samples, not 1"):
        crps(torch.zeros(1, 3), torch.zeros(3))


def test_published_metric_is_kde_without_its_constant(generator: Generator) -> None:
    samples, y = normal(generator, 20, 5), normal(generator, 5)
    by_hand = -torch.exp(-((samples - y) ** 2) / 0.1).mean(dim=0).log()
    torch.testing.assert_close(published_nll(samples, y), by_hand)
    torch.testing.assert_close(kde_nll(samples, y), by_hand - 0.579, rtol=0, atol=1e-3)


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("num_draws", [3, 100])
def test_pit_is_uniform_where_draws_are_right(generator: Generator, num_draws: int, discrete: bool) -> None:
    draws = normal(generator, num_draws + 1, 20_000)
    draws = draws.round() if discrete else draws
    ranks = pit(draws[1:], draws[0], torch.rand(20_000, generator=generator, dtype=torch.float64))
    assert uniform_distance(ranks) < 1.6 / math.sqrt(20_000)  # 1 % level
    assert calibration_error(ranks) < 0.01
    for level in (0.5, 0.8, 0.9, 0.95):
        assert coverage(ranks, level).mean().item() == pytest.approx(level, abs=0.01)


def test_pit_tells_too_narrow_draws(generator: Generator) -> None:
    y, uniforms = normal(generator, 20_000), torch.rand(20_000, generator=generator)
    ranks = pit(0.5 * normal(generator, 200, 20_000), y, uniforms)
    expected = 2 * torch.special.ndtr(torch.tensor(0.5 * 1.6449)).item() - 1
    assert coverage(ranks, 0.9).mean().item() == pytest.approx(expected, abs=0.02)
    assert calibration_error(ranks) > 0.05


def test_pit_counts_draws_near_a_discrete_target_as_ties() -> None:
    samples, y = torch.tensor([[-5.0], [-0.4], [0.4], [5.0]]), torch.zeros(1)
    assert pit(samples, y, torch.zeros(1), tie_width=5.0).item() == pytest.approx(1 / 5)
    assert pit(samples, y, torch.ones(1), tie_width=5.0).item() == pytest.approx(4 / 5)
    assert pit(samples, y, torch.zeros(1)).item() == pytest.approx(2 / 5)


def test_calibration_measures_by_hand() -> None:
    assert uniform_distance(torch.tensor([0.1, 0.2, 0.6])).item() == pytest.approx(2 / 3 - 0.2)
    assert calibration_error(torch.zeros(4)).item() == pytest.approx(
        float((1 - torch.linspace(0.05, 0.95, 20)).square().mean().sqrt())
    )


def test_scores_of_tasks_are_means_over_real_queries(generator: Generator) -> None:
    y = normal(generator, 3, 4, 1)
    mask = torch.tensor([[True] * 4, [True, True, False, False], [True, False, False, False]])
    predictive = GaussianMixture(normal(generator, 2, 3, 4, 1), torch.ones(1, dtype=torch.float64))
    scores = task_scores(predictive, few_shot(y, mask), spacing=1.0, num_samples=4000, generator=generator)
    nll = -predictive.log_prob(y).value
    mass = -predictive.log_mass(y - 0.5, y + 0.5).value
    for task in range(3):
        keep = mask[task]
        torch.testing.assert_close(scores.values["nll"][task], nll[task, keep].mean())
        torch.testing.assert_close(scores.values["log_loss"][task], mass[task, keep].mean())
        error = (predictive.mean - y)[task, keep].square().mean()
        torch.testing.assert_close(scores.values["squared_error"][task], error)
    torch.testing.assert_close(scores.values["joint_nll"] * mask.sum(dim=1), -predictive.joint_log_prob(y, mask).value)
    assert scores.valid_pit().shape == (7, 1)


def test_filler_changes_no_score(generator: Generator) -> None:
    y, means = normal(generator, 2, 3, 1), normal(generator, 1, 2, 3, 1)
    mask = torch.tensor([[True, False, False], [True, True, False]])
    other = torch.where(mask[..., None], y, 1e4)
    scores = [
        task_scores(GaussianMixture(means, torch.ones(1).double()), few_shot(target, mask), spacing=1.0,
                    num_samples=50, generator=Generator().manual_seed(1))
        for target in (y, other)
    ]  # fmt: skip
    for name, value in scores[0].values.items():
        assert torch.equal(value, scores[1].values[name]), name
    assert torch.equal(scores[0].valid_pit(), scores[1].valid_pit())


def test_chunks_change_no_score(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    y, mask = normal(generator, 2, 7, 2), torch.ones(2, 7, dtype=torch.bool)
    predictive = GaussianMixture(normal(generator, 3, 2, 7, 2), torch.ones(1).double())

    def scores() -> TaskScores:
        return task_scores(predictive, few_shot(y, mask), num_samples=20, generator=Generator().manual_seed(1))

    whole = scores()
    monkeypatch.setattr("modules.scores.per_task.CHUNK_NUMBERS", 20 * 2 * 2 * 3)
    assert torch.equal(whole.pit, scores().pit)
    torch.testing.assert_close(whole.values["crps"], scores().values["crps"])


def test_many_queries_have_no_joint_scores() -> None:
    y = torch.zeros(1, 300, 1)
    predictive = GaussianMixture(y[None], torch.ones(1))
    scores = task_scores(predictive, few_shot(y, torch.ones(1, 300, dtype=torch.bool)), num_samples=10)
    assert "energy" not in scores.values
    assert "joint_nll" not in scores.values
    assert torch.isfinite(scores.values["crps"]).all()


def test_summary_and_paired_differences(generator: Generator) -> None:
    mask = torch.ones(50, 1, dtype=torch.bool)
    ranks = torch.rand(50, 1, 1, generator=generator)
    values = {"squared_error": normal(generator, 50).square(), "crps": normal(generator, 50)}
    table = summary(TaskScores.cat([TaskScores(values, ranks, mask), TaskScores(values, ranks, mask)]))
    twice = values["squared_error"].repeat(2)
    assert table.means["rmse"] == pytest.approx(twice.mean().sqrt().item())
    assert table.errors["rmse"] == pytest.approx(twice.std().item() / 10 / (2 * table.means["rmse"]))
    assert table.errors["crps"] == pytest.approx(values["crps"].repeat(2).std().item() / 10)
    assert table.means["pit_ks"] == pytest.approx(uniform_distance(ranks).item())
    better = {"crps": values["crps"] - 0.5, "log_loss": values["crps"]}
    difference = paired_differences(better, values)
    assert list(difference) == ["crps"]
    assert difference["crps"].value.item() == pytest.approx(-0.5)
    assert difference["crps"].error.item() == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="49 tasks cannot be paired with 50"):
        paired_differences({"crps": values["crps"][1:]}, values)

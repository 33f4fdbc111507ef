"""Trained learners against each other and against the Bayes-optimal predictive, on tasks that none has seen."""

from __future__ import annotations

import pytest
from few_shot_training import gain, oracle, trained

from modules.scores import ScoreSheet

STEPS = 1500


def assert_calibrated(sheet: ScoreSheet) -> None:
    summary = sheet.summary()
    assert summary["pit_ks"] <= 0.05
    assert summary["coverage_90"] == pytest.approx(0.9, abs=0.03)


@pytest.fixture(scope="module")
def gaussian() -> ScoreSheet:
    return trained("floor", learner="deep_kernel_gp", steps=3000)


def assert_better(ours: ScoreSheet, theirs: ScoreSheet, *scores: str) -> None:
    for score in scores:
        better, error = gain(ours, theirs, score)
        assert better > 3 * error, f"{score}: {better:.4f} +- {error:.4f}"


def test_demo_beats_the_deep_kernel_gp_in_every_score(gaussian: ScoreSheet) -> None:
    ours = trained("floor", steps=3000)
    assert_better(ours, gaussian, "log_loss", "crps", "nll", "joint_nll", "energy")
    assert_calibrated(ours)
    assert_calibrated(gaussian)
    gap, error = gain(oracle("floor"), ours, "log_loss")
    assert -3 * error < gap < 0.05


@pytest.mark.parametrize("posterior", ["vmgp_sites", "vmgp_free"])
def test_both_posteriors_beat_the_deep_kernel_gp_on_floor(gaussian: ScoreSheet, posterior: str) -> None:
    """Ten latents and the ELBO, as published; the paper's advantage on a discontinuous function shows."""
    assert_better(trained("floor", learner=posterior, steps=3000), gaussian, "crps", "nll", "joint_nll")


def test_vmgp_learns_the_sign_of_a_hidden_function() -> None:
    ours, best = trained("sign", steps=STEPS), oracle("sign")
    assert_calibrated(ours)
    gap, error = gain(best, ours, "log_loss")
    assert -3 * error < gap < 0.1


def test_vmgp_learns_noisy_samples_of_a_gaussian_process() -> None:
    """With noise: that of a learner does not fall to nothing in so few steps, as exact targets would have it."""
    noise = "--data.init_args.tasks.init_args.noise_sd=0.3"
    ours, best = trained("identity", noise, steps=STEPS), oracle("identity", noise)
    assert_calibrated(ours)
    gap, error = gain(best, ours, "nll")
    assert -3 * error < gap < 0.1

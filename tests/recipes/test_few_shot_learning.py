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


def test_both_posteriors_beat_the_deep_kernel_gp_on_floor() -> None:
    """With the same budget the advantage on a discontinuous function shows."""
    gaussian = trained("floor", learner="deep_kernel_gp", steps=3000)
    best = oracle("floor")
    sites = trained("floor", steps=3000)
    free = trained("floor", learner="vmgp_free", steps=3000)
    for ours in (sites, free):
        for score in ("crps", "nll", "joint_nll"):
            better, error = gain(ours, gaussian, score)
            assert better > 3 * error, f"{score}: {better:.4f} +- {error:.4f}"
    assert_calibrated(sites)
    assert_calibrated(gaussian)
    gap, error = gain(best, sites, "log_loss")
    assert -3 * error < gap < 0.1


def test_sites_learn_the_sign_of_a_hidden_function() -> None:
    sites, best = trained("sign", steps=STEPS), oracle("sign")
    assert_calibrated(sites)
    gap, error = gain(best, sites, "log_loss")
    assert -3 * error < gap < 0.1


def test_sites_learn_noisy_samples_of_a_gaussian_process() -> None:
    """With noise: that of a learner does not fall to nothing in so few steps, as exact targets would have it."""
    noise = "--data.init_args.tasks.init_args.noise_sd=0.3"
    sites, best = trained("identity", noise, steps=STEPS), oracle("identity", noise)
    assert_calibrated(sites)
    gap, error = gain(best, sites, "nll")
    assert -3 * error < gap < 0.1

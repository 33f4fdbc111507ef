"""The fit: its gradient, its minimiser, laws it must find again, and the paper's 47 runs."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from modules.scaling import LossLaw, fit_law, start_grid
from modules.scaling.lbfgs import minimise
from modules.scaling.runs import DELTA, Runs

DATA = Path(__file__).parents[3] / "shared" / "data" / "sardana_47_runs.csv"
FEW_STARTS = start_grid(exponents=(0.0, 0.5), log_floor=(-1.0, 0.0, 1.0), log_scale=(0.0, 5.0, 10.0))


def synthetic(law: LossLaw, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sizes, ratios = np.meshgrid(np.geomspace(1e8, 1e10, 6), [10.0, 20.0, 50.0, 200.0, 1000.0])
    parameters, tokens = sizes.ravel(), (sizes * ratios).ravel()
    scatter = np.exp(noise * np.random.default_rng(0).standard_normal(parameters.size))
    return parameters, tokens, np.asarray(law.loss(parameters, tokens)) * scatter


def test_gradient_equals_finite_differences() -> None:
    runs = Runs.of(*synthetic(LossLaw.preset("sardana2024"), noise=1e-3))
    points = runs.inward(
        np.array([[6.0, 6.0, 0.52, 0.336, 0.283], [6.1, 5.9, 0.5, 0.34, 0.28], [3.0, 9.0, -0.5, 0.2, 0.5]])
    )
    weights = np.random.default_rng(1).integers(0, 3, (1, runs.num_runs)).astype(float)
    _, gradients = runs.huber(points, weights)
    for i in range(5):
        step = 1e-7 * np.eye(5)[i]
        difference = (runs.huber(points + step, weights)[0] - runs.huber(points - step, weights)[0]) / 2e-7
        np.testing.assert_allclose(gradients[:, i], difference, rtol=1e-4, atol=1e-9)


def test_objective_is_the_sum_of_huber_terms() -> None:
    runs = Runs.of(*synthetic(LossLaw.preset("sardana2024"), noise=1e-3))
    a, b, e, alpha, beta = point = np.array([6.0, 6.0, 0.52, 0.336, 0.283])
    terms = [a - alpha * np.log(runs.parameters), b - beta * np.log(runs.tokens), np.full(runs.num_runs, e)]
    residual = np.abs(np.log(np.sum(np.exp(terms), axis=0)) - np.log(runs.loss))
    expected = np.where(residual <= DELTA, residual**2 / 2, DELTA * (residual - DELTA / 2)).sum()
    value, _ = runs.huber(runs.inward(point[None]), np.ones((1, runs.num_runs)))
    assert value[0] == pytest.approx(expected, rel=1e-10)
    np.testing.assert_allclose(runs.outward(runs.inward(point[None]))[0], point, rtol=1e-12)


def test_minimiser_on_rosenbrock_from_many_starts() -> None:
    def rosenbrock(points: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = points.T
        gradient = np.stack((-400 * x * (y - x**2) - 2 * (1 - x), 200 * (y - x**2)), axis=1)
        return 100 * (y - x**2) ** 2 + (1 - x) ** 2, gradient

    starts = np.random.default_rng(0).uniform(-2, 2, (50, 2))
    points, values = minimise(rosenbrock, starts, max_steps=500, tolerance=1e-15)
    np.testing.assert_allclose(points, 1.0, atol=1e-6)
    alone, _ = minimise(rosenbrock, starts[7:8], max_steps=500, tolerance=1e-15)
    np.testing.assert_allclose(points[7], alone[0], rtol=1e-12)
    assert np.all(values < 1e-12)


@pytest.mark.parametrize("name", ["sardana2024", "besiroglu2024", "sardana2024-100"])
def test_a_law_is_found_again(name: str) -> None:
    law = LossLaw.preset(name)
    fit = fit_law(*synthetic(law), starts=FEW_STARTS)
    np.testing.assert_allclose(fit.law.coefficients, law.coefficients, rtol=2e-3)
    assert fit.mean_absolute_error < 1e-5
    assert fit.law.parameters_range == pytest.approx((1e8, 1e10))


def test_order_does_not_matter_and_outliers_hardly() -> None:
    law = LossLaw.preset("sardana2024")
    parameters, tokens, loss = synthetic(law, noise=1e-3)
    shuffled = np.random.default_rng(3).permutation(loss.size)
    one = fit_law(parameters, tokens, loss, starts=FEW_STARTS)
    other = fit_law(parameters[shuffled], tokens[shuffled], loss[shuffled], starts=FEW_STARTS)
    assert one.law.coefficients == other.law.coefficients
    loss[4] *= 1.2
    spoilt = fit_law(parameters, tokens, loss, starts=FEW_STARTS)
    assert spoilt.law.alpha == pytest.approx(one.law.alpha, rel=0.1)


def test_bootstrap_samples_surround_the_fit_and_repeat() -> None:
    runs = synthetic(LossLaw.preset("besiroglu2024"), noise=3e-3)
    law, again = (fit_law(*runs, starts=FEW_STARTS, num_bootstrap=40).law for _ in range(2))
    assert law.samples is not None
    assert law.samples.shape == (40, 5)
    np.testing.assert_array_equal(law.samples, again.samples)
    low, high = np.quantile(law.samples, [0.02, 0.98], axis=0)
    assert np.all((low <= law.coefficients) & (law.coefficients <= high))
    # A and alpha move together: independent standard errors would be nonsense.
    assert np.corrcoef(np.log(law.samples[:, 1]), law.samples[:, 3])[0, 1] > 0.95


@pytest.mark.parametrize(
    ("parameters", "tokens", "loss", "message"),
    [
        ([1e9] * 3, [1e10] * 3, [3.0] * 3, "3 runs cannot determine"),
        ([1e9] * 6, [1e10, 2e10] * 3, [3.0] * 6, "all runs have parameters=1e\\+09"),
        ([1e9, 2e9] * 3, [1e10] * 6, [3.0] * 6, "all runs have tokens"),
        ([1e9, 2e9] * 3, [1e10, 2e10] * 3, [3.0] * 5, "6, 6 and 5 values"),
        ([1e9, 2e9] * 3, [1e10, 2e10] * 3, [3.0] * 5 + [-1.0], "loss=-1"),
    ],
)
def test_runs_that_cannot_be_fitted(parameters: list, tokens: list, loss: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_law(parameters, tokens, loss)


def the_47_runs() -> np.ndarray:
    if not DATA.is_file():
        pytest.skip("the 47 runs of arXiv:2401.00448 are not at hand")
    with DATA.open() as file:
        return np.array(
            [[float(row[c]) for c in ("Parameters", "Tokens", "Smoothed Loss")] for row in csv.DictReader(file)]
        ).T


@pytest.mark.parametrize(
    ("max_ratio", "num_runs", "huber_sum", "preset"),
    [
        (100, 34, 2.19206e-4, "sardana2024-100"),
        (500, 43, 3.91802e-4, "sardana2024-500"),
        (1e9, 47, 6.19984e-4, "sardana2024-all"),
    ],
)
def test_refit_of_the_47_runs(max_ratio: float, num_runs: int, huber_sum: float, preset: str) -> None:
    runs = the_47_runs()
    runs = runs[:, runs[1] / runs[0] <= max_ratio * (1 + 1e-9)]
    fit = fit_law(*runs, starts=FEW_STARTS)
    law, expected = fit.law, LossLaw.preset(preset)
    assert fit.num_runs == num_runs
    assert fit.huber_sum == pytest.approx(huber_sum, rel=1e-5)
    assert (law.alpha, law.beta) == pytest.approx((expected.alpha, expected.beta), abs=1e-4)
    assert pytest.approx((expected.E, expected.A, expected.B), rel=1e-3) == (law.E, law.A, law.B)
    assert expected.parameters_range == law.parameters_range
    assert expected.tokens_range == pytest.approx(law.tokens_range)


def test_full_grid_reaches_the_same_optimum() -> None:
    fit = fit_law(*the_47_runs())
    assert len(start_grid()) == 4500
    assert fit.huber_sum == pytest.approx(6.19984e-4, rel=1e-5)
    assert fit.agreeing_share > 0.1
    assert fit.mean_absolute_error == pytest.approx(0.040, abs=5e-4)


def test_the_papers_rounded_row_is_unusable() -> None:
    parameters, tokens, loss = the_47_runs()
    printed = LossLaw(1.45, 33.66, 138.9, 0.18, 0.24)
    assert np.abs(printed.loss(parameters, tokens) - loss).mean() == pytest.approx(0.171, abs=5e-4)


@pytest.mark.parametrize(
    ("loss", "what"),
    [
        (lambda n, d: np.full(n.size, 2.5), "parameters"),
        (lambda n, d: 1 + 0.1 * np.log(n) + 10 / np.log(d), "parameters"),
        (lambda n, d: LossLaw.preset("sardana2024").loss(1e9, d), "parameters"),
        (lambda n, d: LossLaw.preset("sardana2024").loss(n, 1e10), "tokens"),
        (lambda n, d: 1 + 0.1 * np.log(d) + 20 / np.log(n), "tokens"),
    ],
    ids=["flat", "rises with size", "flat in size", "flat in tokens", "rises with tokens"],
)
def test_runs_that_show_no_law_are_blamed_and_not_the_law(
    loss: Callable[[np.ndarray, np.ndarray], np.ndarray], what: str
) -> None:
    parameters, tokens = np.repeat(np.geomspace(1e8, 1e10, 4), 3), np.tile(np.geomspace(1e9, 1e11, 3), 4)
    with pytest.raises(ValueError, match=f"the loss does not fall with more {what} in these runs"):
        fit_law(parameters, tokens, loss(parameters, tokens), starts=FEW_STARTS, num_bootstrap=5)

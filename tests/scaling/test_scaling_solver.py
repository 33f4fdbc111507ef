"""The scale-free solver against a plain bracketed search, and the identities that every solution keeps (hypothesis)."""

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.scaling import PRESETS, LossLaw, lifetime_optimum, optimal_demand
from modules.scaling.arrays import FloatArray
from modules.scaling.solver import shift

LAWS = st.sampled_from(sorted(PRESETS))
SIZES = st.floats(1e6, 1e12)
SHIFTS = st.floats(1e-5, 1e6)
"""Demands as multiples of the Chinchilla tokens."""


def reference_tokens(law: LossLaw, parameters: FloatArray, demand: FloatArray) -> FloatArray:
    """D* by bisection of the first-order condition in ln D, as the paper states it (section 2.4 of eq. 2-3)."""
    reducible = law.A * parameters**-law.alpha * (1 + law.alpha / law.beta)
    equivalent, ratio = demand / 3, law.beta / law.alpha

    def slope(log_tokens: FloatArray) -> FloatArray:
        data = law.B * np.exp(-law.beta * log_tokens)
        return (1 + ratio) * data + equivalent * ratio * data * np.exp(-log_tokens) - reducible

    low, high = np.full_like(parameters, -50.0), np.full_like(parameters, 150.0)
    for _ in range(120):
        middle = (low + high) / 2
        positive = slope(middle) > 0
        low, high = np.where(positive, middle, low), np.where(positive, high, middle)
    return np.exp((low + high) / 2)


@pytest.mark.parametrize("name", ["sardana2024", "hoffmann2022", "hoffmann2022-tex", "besiroglu2024"])
def test_solver_equals_a_bracketed_search(name: str) -> None:
    law = LossLaw.preset(name)
    sizes, demands = np.meshgrid(np.geomspace(1e6, 1e12, 7), np.concatenate(([0.0], np.geomspace(1e6, 1e20, 29))))
    best = lifetime_optimum(law, quality_of=sizes, inference_tokens=demands)
    expected = reference_tokens(law, sizes, demands)
    # ln D up to 100 is rounded to 1e-14 in the search itself.
    np.testing.assert_allclose(best.tokens, expected, rtol=1e-12)
    size = (law.A / (law.A * sizes**-law.alpha * (1 + law.alpha / law.beta) - law.B * expected**-law.beta)) ** (
        1 / law.alpha
    )
    np.testing.assert_allclose(best.parameters, size, rtol=1e-11)


def test_printed_scale_free_values() -> None:
    law = LossLaw.preset("sardana2024")
    moved = shift(np.array([0.1, 0.5, 1, 2, 5, 10, 100]), law.alpha, law.beta)
    sizes = [0.8760, 0.6627, 0.5571, 0.4623, 0.3625, 0.3058, 0.1962]
    data = [1.148, 1.6021, 2.042, 2.754, 4.3937, 6.527, 28.7901]
    np.testing.assert_allclose(np.exp(moved.log_size), sizes, atol=5e-5)
    np.testing.assert_allclose(np.exp(moved.log_data), data, rtol=3e-4)
    np.testing.assert_allclose(100 * moved.saved_fraction, [0.6, 7.1, 15.3, 26.7, 43.3, 54.1, 75.0], atol=0.05)


@pytest.mark.parametrize("exponents", [(0.336, 0.283), (0.0768, 0.1257), (0.126, 0.127), (0.9, 0.05), (0.05, 0.9)])
def test_residual_of_the_equation(exponents: tuple[float, float]) -> None:
    alpha, beta = exponents
    t = np.concatenate((np.geomspace(1e-18, 1e20, 2000), [0.0]))
    u = shift(t, alpha, beta).log_data
    left, right = np.exp(u) * np.expm1(beta * u), beta / (alpha + beta) * t
    np.testing.assert_allclose(left, right, rtol=2e-13 if beta > 0.1 else 1e-12)
    assert u[-1] == 0.0


def test_blocks_do_not_show() -> None:
    t = np.geomspace(1e-6, 1e6, 40_001)
    whole = shift(t, 0.34, 0.28)
    parts = [shift(part, 0.34, 0.28) for part in np.array_split(t, 7)]
    np.testing.assert_allclose(whole.log_data, np.concatenate([part.log_data for part in parts]), rtol=1e-15)


@pytest.mark.parametrize("exponents", [(0.336, 0.283), (0.3478, 0.3658), (0.0768, 0.1257)])
def test_all_three_answers_keep_their_digits(exponents: tuple[float, float]) -> None:
    # Against 60 digits: also the saving of a tiny demand, which is of order t^2.
    alpha, beta = exponents
    demands = np.geomspace(1e-12, 1e12, 49)
    moved = shift(demands, alpha, beta)
    with mpmath.workdps(60):
        al, be = mpmath.mpf(alpha), mpmath.mpf(beta)
        a = be / (al + be)
        for i, demand in enumerate(demands):
            t = mpmath.mpf(float(demand))
            u = mpmath.findroot(lambda v, t=t: mpmath.exp(v) * mpmath.expm1(be * v) - a * t, float(moved.log_data[i]))
            size = ((1 - (1 - a) * mpmath.exp(-be * u)) / a) ** (-1 / al)
            saved = 1 - size * (mpmath.exp(u) + t) / (1 + t)
            assert moved.log_data[i] == pytest.approx(float(u), rel=1e-14)
            assert moved.log_size[i] == pytest.approx(float(mpmath.log(size)), rel=1e-13)
            assert moved.saved_fraction[i] == pytest.approx(float(saved), rel=1e-12)


@given(LAWS, SIZES)
def test_no_demand_is_chinchilla(name: str, size: float) -> None:
    best = lifetime_optimum(LossLaw.preset(name), quality_of=size, inference_tokens=0)
    assert (best.parameters, best.tokens) == (best.chinchilla.parameters, best.chinchilla.tokens)
    assert best.saved_fraction == 0


@given(LAWS, SIZES, SHIFTS, st.floats(1.01, 100))
def test_more_demand_means_smaller_and_longer(name: str, size: float, t: float, factor: float) -> None:
    law = LossLaw.preset(name)
    data = float(law.chinchilla(parameters=size).tokens)
    best = lifetime_optimum(law, quality_of=size, inference_tokens=3 * t * data * np.array([1, factor]))
    assert best.parameters[1] < best.parameters[0] < size
    assert best.tokens[1] > best.tokens[0] > data
    assert 0 <= best.saved_fraction[0] <= best.saved_fraction[1] < 1
    assert np.all(best.parameters > law.smallest_size_ratio * size)


@given(LAWS, SIZES, SHIFTS)
def test_the_inverse_returns_the_demand(name: str, size: float, t: float) -> None:
    law = LossLaw.preset(name)
    demand = 3 * t * float(law.chinchilla(parameters=size).tokens)
    best = lifetime_optimum(law, quality_of=size, inference_tokens=demand)
    tolerance = 1e-9 if t < 1e-3 else 1e-10
    assert optimal_demand(law, best.parameters, best.tokens) == pytest.approx(demand, rel=tolerance)


@given(LAWS, SIZES, SHIFTS)
def test_quality_is_kept_and_no_neighbour_is_cheaper(name: str, size: float, t: float) -> None:
    law = LossLaw.preset(name)
    point = law.chinchilla(parameters=size)
    demand = 3 * t * float(point.tokens)
    best = lifetime_optimum(law, quality_of=size, inference_tokens=demand)
    assert law.loss(best.parameters, best.tokens) == pytest.approx(float(point.loss), abs=1e-12)
    for factor in (0.99, 1.01):
        other = float(law.tokens_for_loss(best.parameters * factor, point.loss))
        assert 6 * best.parameters * factor * (other + demand / 3) > best.cost


@given(LAWS, st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0, 5), SHIFTS)
def test_scaling_the_coefficients_changes_nothing(name: str, a: float, b: float, floor: float, t: float) -> None:
    law = LossLaw.preset(name)
    other = LossLaw(floor, a * law.A, b * law.B, law.alpha, law.beta)
    ratios = []
    for each in (law, other):
        point = each.chinchilla(parameters=1e9)
        best = lifetime_optimum(each, quality_of=1e9, inference_tokens=3 * t * point.tokens)
        ratios.append((best.parameters / point.parameters, best.tokens / point.tokens))
    np.testing.assert_allclose(ratios[0], ratios[1], rtol=1e-12)


@settings(max_examples=50)
@given(LAWS, SIZES)
def test_chinchilla_points_agree_from_every_side(name: str, size: float) -> None:
    law = LossLaw.preset(name)
    point = law.chinchilla(parameters=size)
    for again in (
        law.chinchilla(tokens=point.tokens),
        law.chinchilla(train_flops=point.train_flops),
        law.chinchilla(loss=point.loss),
    ):
        # Through the loss, the distance to the floor loses digits that the exponent multiplies.
        assert again.parameters == pytest.approx(size, rel=1e-9)
        assert again.tokens == pytest.approx(float(point.tokens), rel=1e-9)
    assert law.data_term(point.tokens) / (point.loss - law.E) == pytest.approx(1 - law.size_share, rel=1e-9)

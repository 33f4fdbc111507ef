"""Laws, dollars, limits, budgets, repeated data and uncertain demand: what a choice rests on beside the optimum."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from modules.scaling import (
    PRESETS,
    CostRates,
    DemandDistribution,
    Hardware,
    Limits,
    LossLaw,
    RepeatedDataLaw,
    best_for_budget,
    expected_optimum,
    interval,
    lifetime_cost,
    lifetime_optimum,
    limited_optimum,
    optimal_demand,
    repeated_optimum,
)
from modules.scaling.hardware import recognise

LAW = LossLaw.preset("sardana2024")
QUESTION: dict[str, Any] = {"quality_of": 7e9, "inference_tokens": 1e12}


def test_gradients_equal_finite_differences() -> None:
    for law in PRESETS.values():
        by_size, by_data = law.gradients(3e9, 2e11)
        h = 1e-5
        assert by_size == pytest.approx(
            (law.loss(3e9 * (1 + h), 2e11) - law.loss(3e9 * (1 - h), 2e11)) / (6e9 * h), rel=1e-6
        )
        assert by_data == pytest.approx(
            (law.loss(3e9, 2e11 * (1 + h)) - law.loss(3e9, 2e11 * (1 - h))) / (4e11 * h), rel=1e-6
        )


def test_every_preset_names_its_source() -> None:
    assert len(PRESETS) >= 7
    for name, law in PRESETS.items():
        assert law.name == name
        assert "arXiv:" in law.source


def test_a_query_outside_the_fitted_range_is_flagged() -> None:
    refit = LossLaw.preset("sardana2024-all")
    assert refit.covers(1e9, 1e11)
    assert not refit.covers(70e9, 1e12)
    assert list(refit.covers([1e9, 1e9], [1e11, 1e15])) == [True, False]
    assert not LossLaw.preset("muennighoff2023").covers(1e9, 1e11)  # the source gives no range
    best = lifetime_optimum(refit, quality_of=[1e9, 70e9], inference_tokens=0)
    assert list(best.in_range) == [True, False]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LossLaw.preset("hofman2022"), "did you mean hoffmann2022"),
        (lambda: LAW.chinchilla(loss=1.69), "floor of E=1.69"),
        (lambda: LAW.chinchilla(), "exactly one"),
        (lambda: lifetime_optimum(LAW, inference_tokens=1e9), "a quality is needed"),
        (lambda: lifetime_optimum(LAW, quality_of=1e9, loss=2.0, inference_tokens=1e9), "got 2"),
        (lambda: lifetime_optimum(LAW, quality_of=1e9, inference_tokens=[1.0, -2.0]), "inference_tokens=-2"),
        (lambda: lifetime_optimum(LAW, quality_of=float("nan"), inference_tokens=1.0), "quality_of=nan"),
        (lambda: lifetime_optimum(LAW, quality_of="big", inference_tokens=1.0), "must be a number"),
        (lambda: LAW.tokens_for_loss(1e6, 2.0), "parameters=1e\\+06 under law sardana2024"),
        (lambda: LossLaw(1.0, 1.0, -1.0, 0.3, 0.3), "B .*=-1"),
        (lambda: Hardware.preset("h10"), "did you mean h100"),
        (lambda: Hardware.preset("h200").usd_per_flop("bf16"), "preset\\('h200', usd_per_hour"),
        (lambda: Hardware.preset("a100-80").usd_per_flop("fp8"), "known are bf16, int8"),
        (lambda: CostRates.dollars(train_usd_per_flop=1, inference_usd_per_flop=1, output_fraction=1.1), "\\[0, 1\\]"),
        (lambda: CostRates.dollars(train_usd_per_flop=1, inference_usd_per_flop=1, decode_utilization=0), "\\(0, 1\\]"),
        (
            lambda: limited_optimum(LAW, Limits(max_train_flops=1e22), **QUESTION),
            "max_train_flops=1e\\+22 is too little",
        ),
        (lambda: limited_optimum(LAW, Limits(max_parameters=4e9, max_tokens=4e11), **QUESTION), "within the limits"),
        (lambda: Limits(max_tokens=-1), "max_tokens=-1"),
        (lambda: repeated_optimum(RepeatedDataLaw(LAW, 1e10), **QUESTION), "find more data"),
        (lambda: DemandDistribution.lognormal(1e12, 1e11), "must rise"),
        (lambda: DemandDistribution.of([1e9, 1e10], [1.0]), "one for each"),
        (lambda: interval(LAW, lambda law: law.E), "no bootstrap samples"),
    ],
)
def test_mistakes_are_explained_in_one_line(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_prefill_only_decode_only_and_no_demand_in_dollars() -> None:
    prices = {"train_usd_per_flop": 2.0, "inference_usd_per_flop": 1.0, "train_utilization": 0.4}
    read = CostRates.dollars(output_fraction=0.0, prefill_utilization=0.5, **prices)
    written = CostRates.dollars(output_fraction=1.0, decode_utilization=0.02, **prices)
    assert read.training_tokens(3e9) == pytest.approx(3e9 * (1 / 0.5) / (3 * 2 / 0.4))
    assert written.training_tokens(3e9) == pytest.approx(25 * float(read.training_tokens(3e9)))
    best = lifetime_optimum(LAW, quality_of=7e9, inference_tokens=[0.0, 1e11], rates=written)
    assert best.parameters[0] == 7e9
    assert best.inference_cost[0] == 0
    for rates in (read, written):
        best = lifetime_optimum(LAW, quality_of=7e9, inference_tokens=1e11, rates=rates)
        assert optimal_demand(LAW, best.parameters, best.tokens, rates) == pytest.approx(1e11, rel=1e-10)
        assert best.cost == pytest.approx(float(lifetime_cost(best.parameters, best.tokens, 1e11, rates)), rel=1e-14)


@pytest.mark.parametrize(
    ("limits", "parameters", "tokens"),
    [
        (Limits(), None, None),
        (Limits(parameters=5e9), 5e9, None),
        (Limits(max_parameters=3e9), 3e9, None),
        (Limits(max_parameters=6e9), None, None),
        (Limits(max_tokens=4e11), None, 4e11),
        (Limits(max_tokens=1e13), None, None),
        (Limits(max_train_flops=1e23), None, None),
    ],
)
def test_limits_bind_or_leave_the_optimum_alone(limits: Limits, parameters: float | None, tokens: float | None) -> None:
    free, best = lifetime_optimum(LAW, **QUESTION), limited_optimum(LAW, limits, **QUESTION)
    assert LAW.loss(best.parameters, best.tokens) == pytest.approx(float(free.loss), abs=1e-12)
    if parameters is None and tokens is None:
        assert (best.parameters, best.saved_fraction) == (free.parameters, free.saved_fraction)
    else:
        assert best.parameters == pytest.approx(parameters or float(best.parameters), rel=1e-12)
        assert best.tokens == pytest.approx(tokens or float(best.tokens), rel=1e-12)
        assert 0 < best.saved_fraction < free.saved_fraction


def test_training_compute_is_used_up_when_it_binds() -> None:
    best = limited_optimum(LAW, Limits(max_train_flops=1.25e22), **QUESTION)
    assert 6 * best.parameters * best.tokens == pytest.approx(1.25e22, rel=1e-12)
    assert best.parameters < 7e9


def test_a_device_bounds_the_size() -> None:
    l4 = Hardware.preset("l4")
    assert l4.max_parameters(bytes_per_parameter=2, weight_share=1.0) == 24 * 2**30 / 2
    assert l4.max_parameters(bytes_per_parameter=1, num_devices=2) == pytest.approx(2 * 0.8 * 24 * 2**30)


@pytest.mark.parametrize(
    ("device", "preset"),
    [
        ("NVIDIA A100-SXM4-80GB", "a100-80"),
        ("NVIDIA A100-SXM4-40GB", "a100-40"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA L40S", "l40s"),
        ("Tesla V100-SXM2-32GB", "v100"),
        ("NVIDIA GeForce RTX 4090", None),
        ("NVIDIA A100-SXM4-80GB MIG 1g.10gb", None),
        ("NVIDIA H100 80GB HBM3 MIG 3g.40gb", None),
        ("cpu", None),
    ],
)
def test_devices_by_driver_name(device: str, preset: str | None) -> None:
    found = recognise(device)
    assert (found.name if found else None) == preset


@pytest.mark.parametrize("demand", [0.0, 1e10, 1e13])
def test_a_budget_buys_the_best_quality(demand: float) -> None:
    best = best_for_budget(LAW, lifetime_cost=1e23, inference_tokens=demand)
    assert best.cost == pytest.approx(1e23, rel=1e-9)
    sizes = best.parameters * np.geomspace(0.5, 2, 401)
    tokens = 1e23 / (6 * sizes) - demand / 3
    assert best.loss <= np.min(LAW.loss(sizes[tokens > 0], tokens[tokens > 0])) + 1e-12


def test_repeated_data_are_worth_less_and_fresh_data_the_same() -> None:
    repeated = RepeatedDataLaw(LAW, 1e11)
    assert repeated.effective_tokens(5e10) == 5e10
    assert repeated.effective_tokens(1e11) == 1e11
    # Muennighoff et al., eq. 5: one repetition more.
    assert repeated.effective_tokens(2e11) == pytest.approx(1e11 * (1 + 15.39 * (1 - np.exp(-1 / 15.39))), rel=1e-12)
    assert repeated.effective_tokens(1e16) == pytest.approx(1e11 * 16.39, rel=1e-9)
    assert repeated.loss(1e9, 4e11) > LAW.loss(1e9, 4e11)
    excess = repeated.matched_parameters * 3
    assert repeated.effective_parameters(excess) == pytest.approx(
        repeated.matched_parameters * (1 + 5.31 * (1 - np.exp(-2 / 5.31)))
    )
    tokens = repeated.tokens_for_loss(5e9, 2.2)
    assert repeated.loss(5e9, tokens) == pytest.approx(2.2, abs=1e-12)


def test_repeated_optimum() -> None:
    free = lifetime_optimum(LAW, **QUESTION)
    plenty = repeated_optimum(RepeatedDataLaw(LAW, 1e13), **QUESTION)
    assert plenty.cost == pytest.approx(float(free.cost), rel=1e-9)
    assert plenty.parameters == pytest.approx(float(free.parameters), rel=1e-4)
    scarce = repeated_optimum(RepeatedDataLaw(LAW, 1e11), **QUESTION)
    assert scarce.cost > free.cost
    assert scarce.epochs == pytest.approx(scarce.tokens / 1e11)
    assert RepeatedDataLaw(LAW, 1e11).loss(scarce.parameters, scarce.tokens) == pytest.approx(scarce.loss, abs=1e-9)


@pytest.mark.parametrize(
    ("limits", "bound"),
    [(Limits(parameters=6e9), 6e9), (Limits(max_parameters=3e9), 3e9), (Limits(max_tokens=5e11), None)],
)
def test_limits_hold_for_repeated_data_too(limits: Limits, bound: float | None) -> None:
    repeated = RepeatedDataLaw(LAW, 2e11)
    free, best = repeated_optimum(repeated, **QUESTION), repeated_optimum(repeated, limits=limits, **QUESTION)
    assert float(repeated.loss(best.parameters, best.tokens)) == pytest.approx(best.loss, abs=1e-9)
    assert best.cost > free.cost
    if bound is None:
        assert best.tokens == pytest.approx(5e11, rel=1e-9)
        assert best.tokens <= 5e11
    else:
        assert best.parameters == bound


def test_training_compute_of_repeated_data_is_bounded() -> None:
    repeated = RepeatedDataLaw(LAW, 2e11)
    free = repeated_optimum(repeated, **QUESTION)
    budget = 0.9 * 6 * free.parameters * free.tokens
    best = repeated_optimum(repeated, limits=Limits(max_train_flops=budget), **QUESTION)
    assert 6 * best.parameters * best.tokens == pytest.approx(budget, rel=1e-9)
    with pytest.raises(ValueError, match="within the limits: find more data"):
        repeated_optimum(repeated, limits=Limits(max_parameters=1e9), **QUESTION)


def test_regret_is_counted_within_the_limits() -> None:
    demand = DemandDistribution.lognormal(1e11, 1e13)
    free, capped, fixed = (
        expected_optimum(LAW, demand, quality_of=7e9, limits=limits)
        for limits in (Limits(), Limits(max_parameters=5e9), Limits(parameters=7e9))
    )
    assert fixed.optimum.parameters == pytest.approx(7e9, rel=1e-12)
    assert fixed.regret_fraction == pytest.approx(0, abs=1e-14)
    assert 0 < capped.regret_fraction < free.regret_fraction


def test_uncertain_demand_is_planned_for_its_mean() -> None:
    demand = DemandDistribution.of([1e11, 1e12, 1e13], [1, 2, 1])
    plan = expected_optimum(LAW, demand, quality_of=7e9)
    best = plan.optimum

    def expected(size: float) -> float:
        tokens = LAW.tokens_for_loss(size, best.loss)
        return float(demand.weights @ lifetime_cost(size, tokens, demand.inference_tokens))

    assert demand.mean == pytest.approx(3.025e12)
    assert expected(float(best.parameters)) == pytest.approx(float(best.cost), rel=1e-12)
    assert expected(float(best.parameters)) < min(
        expected(0.98 * float(best.parameters)), expected(1.02 * float(best.parameters))
    )
    assert 0 < plan.regret_fraction < 1
    assert expected_optimum(LAW, DemandDistribution.of(1e12), quality_of=7e9).regret_fraction == pytest.approx(
        0, abs=1e-12
    )


def test_lognormal_demand_has_the_moments_of_its_percentiles() -> None:
    demand = DemandDistribution.lognormal(1e11, 1e13)
    sigma = np.log(100) / (2 * 1.2815515655446004)
    assert demand.mean == pytest.approx(1e12 * np.exp(sigma**2 / 2), rel=1e-9)
    assert demand.weights.sum() == pytest.approx(1)


def test_intervals_come_from_joint_samples() -> None:
    samples = np.array([[1.6, 400.0, 410.0, 0.33, 0.28], [1.7, 410.0, 400.0, 0.34, 0.29], [9.9, 1.0, 1.0, 0.3, 0.3]])
    samples = np.vstack((samples, [1.6, 400.0, 410.0, 1e-3, 0.28]))
    law = LossLaw(1.69, 406.4, 410.7, 0.336, 0.283, samples=samples)
    low, high = interval(law, lambda one: lifetime_optimum(one, loss=2.0, inference_tokens=1e12).parameters, level=1.0)
    expected = [lifetime_optimum(LossLaw(*row), loss=2.0, inference_tokens=1e12).parameters for row in samples[:2]]
    assert (low, high) == (min(expected), max(expected))  # the third law cannot reach the loss, the fourth overflows

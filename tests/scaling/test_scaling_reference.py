"""Reference numbers of arXiv:2401.00448 and its authors' README, under the coefficients that the paper really uses."""

from typing import Any

import numpy as np
import pytest

from modules.scaling import (
    CostRates,
    Hardware,
    LossLaw,
    lifetime_cost,
    lifetime_optimum,
    optimal_demand,
    smaller_model_overhead,
)

SARDANA = LossLaw.preset("sardana2024")
BESIROGLU = LossLaw.preset("besiroglu2024")

GOLDEN_GRID = [
    # Nc, demand, loss, Dc, N*, D*, saving in percent
    (1e9, 1e10, 2.531120, 2.743006e10, 8.562779e8, 3.228545e10, 0.8575),
    (7e9, 1e11, 2.127426, 2.764356e11, 5.999722e9, 3.250220e11, 0.8463),
    (7e9, 1e12, 2.127426, 2.764356e11, 3.710596e9, 6.087618e11, 18.1017),
    (30e9, 1e13, 1.958253, 1.555901e12, 1.361283e10, 4.426237e12, 27.9848),
    (70e9, 2e12, 1.891792, 4.254741e12, 5.792232e10, 5.202824e12, 1.3132),
]


@pytest.mark.parametrize(("size", "demand", "loss", "data", "best_size", "best_data", "saving"), GOLDEN_GRID)
def test_golden_grid(
    size: float, demand: float, loss: float, data: float, best_size: float, best_data: float, saving: float
) -> None:
    best = lifetime_optimum(SARDANA, quality_of=size, inference_tokens=demand)
    assert best.chinchilla.tokens == pytest.approx(data, rel=1e-6)
    assert best.parameters == pytest.approx(best_size, rel=1e-6)
    assert best.tokens == pytest.approx(best_data, rel=1e-6)
    assert 100 * best.saved_fraction == pytest.approx(saving, abs=1e-4)
    assert best.loss == pytest.approx(loss, abs=5e-7)
    assert SARDANA.loss(best.parameters, best.tokens) == pytest.approx(float(best.loss), abs=1e-12)


def test_the_grid_is_the_same_as_one_array() -> None:
    sizes, demands = (np.array([row[i] for row in GOLDEN_GRID]) for i in (0, 1))
    together = lifetime_optimum(SARDANA, quality_of=sizes, inference_tokens=demands)
    for i, row in enumerate(GOLDEN_GRID):
        alone = lifetime_optimum(SARDANA, quality_of=row[0], inference_tokens=row[1])
        assert together.parameters[i] == pytest.approx(float(alone.parameters), rel=1e-14)
        assert together.saved_fraction[i] == pytest.approx(float(alone.saved_fraction), rel=1e-12)


def test_readme_flops() -> None:
    assert SARDANA.loss(70e9, 1e12) == pytest.approx(1.9472727897, abs=5e-11)
    best = lifetime_optimum(SARDANA, loss=1.947, inference_tokens=2e12)
    assert best.parameters == pytest.approx(2.418e10, rel=1e-3)
    assert best.tokens == pytest.approx(2.657e12, rel=1e-3)
    assert 100 * best.parameters / best.chinchilla.parameters == pytest.approx(70.96, abs=0.01)
    assert 100 * best.tokens / best.chinchilla.tokens == pytest.approx(146.77, abs=0.01)
    assert 100 * (1 - best.saved_fraction) == pytest.approx(95.22, abs=0.01)


def test_readme_chinchilla() -> None:
    point = SARDANA.chinchilla(parameters=30e9)
    assert point.tokens == pytest.approx(1.556e12, rel=1e-3)
    assert point.loss == pytest.approx(1.958253360475841, abs=1e-12)
    assert point.train_flops == pytest.approx(2.801e23, rel=1e-3)
    assert lifetime_cost(30e9, point.tokens, 6e11) == pytest.approx(3.161e23, rel=1e-3)


@pytest.mark.parametrize(
    ("size", "demand", "best_size", "data_ratio", "saving"),
    [(13e9, 2e12, 6.969e9, 2.165, 0.174), (7e9, 1e11, 6.000e9, 1.1758, 0.0085), (30e9, 1e13, 13.613e9, 2.8448, 0.2798)],
)
def test_the_papers_flop_cases(size: float, demand: float, best_size: float, data_ratio: float, saving: float) -> None:
    best = lifetime_optimum(SARDANA, quality_of=size, inference_tokens=demand)
    assert best.parameters == pytest.approx(best_size, rel=5e-4)
    assert best.tokens / best.chinchilla.tokens == pytest.approx(data_ratio, rel=5e-4)
    assert best.saved_fraction == pytest.approx(saving, abs=5e-4)


def test_figure_1_is_a_seven_billion_model_of_thirteen_billion_quality() -> None:
    chinchilla = SARDANA.chinchilla(parameters=13e9)
    tokens = SARDANA.tokens_for_loss(7e9, chinchilla.loss)
    spent, reference = lifetime_cost(7e9, tokens, 2e12), lifetime_cost(13e9, chinchilla.tokens, 2e12)
    assert tokens == pytest.approx(1.239e12, rel=5e-4)
    assert reference - spent == pytest.approx(1.69e22, rel=5e-3)
    assert 1 - spent / reference == pytest.approx(0.174, abs=5e-4)


def test_chinchilla_70b_needs_1_3_percent_more() -> None:
    best = lifetime_optimum(SARDANA, quality_of=70e9, inference_tokens=2e12)
    assert 1 / (1 - best.saved_fraction) - 1 == pytest.approx(0.0133, abs=5e-5)


def test_printed_hoffmann_exponents_do_not_reproduce_the_paper() -> None:
    best = lifetime_optimum(LossLaw.preset("hoffmann2022"), quality_of=13e9, inference_tokens=2e12)
    assert best.parameters == pytest.approx(8.02e9, rel=1e-3)
    assert best.saved_fraction == pytest.approx(0.101, abs=5e-4)


DEMANDS = np.geomspace(1e8, 1e14, 6001)


@pytest.mark.parametrize(
    ("size_ratio", "demand"), [(0.75, 5e9), (0.5, 2.6e10), (1 / 3, 1.25e11), (0.25, 4.3e11), (0.2, 1.55e12)]
)
def test_contours_of_size(size_ratio: float, demand: float) -> None:
    best = lifetime_optimum(SARDANA, loss=3.0, inference_tokens=DEMANDS)
    ratio = best.parameters / best.chinchilla.parameters
    assert DEMANDS[np.argmin(np.abs(ratio - size_ratio))] == pytest.approx(demand, rel=0.05)


@pytest.mark.parametrize(("flop_ratio", "demand"), [(1.01, 2.3e9), (2, 1.3e11), (3, 5.2e11), (5, 5.6e12)])
def test_contours_of_flops(flop_ratio: float, demand: float) -> None:
    best = lifetime_optimum(SARDANA, loss=3.0, inference_tokens=DEMANDS)
    ratio = 1 / (1 - best.saved_fraction)
    assert DEMANDS[np.argmin(np.abs(ratio - flop_ratio))] == pytest.approx(demand, rel=0.05)


PAPER_PRICES: dict[str, Any] = {"train_precision": "bf16", "inference_precision": "int8"}
A100_80, A100_40 = Hardware.preset("a100-80"), Hardware.preset("a100-40")


def test_readme_dollars() -> None:
    rates = CostRates.of_hardware(
        Hardware.preset("a100-80", usd_per_hour=1.40),
        Hardware.preset("a100-40", usd_per_hour=0.60),
        output_fraction=0.2,
        train_utilization=0.5,
        prefill_utilization=0.4,
        decode_utilization=0.2,
        **PAPER_PRICES,
    )
    best = lifetime_optimum(SARDANA, loss=1.947, inference_tokens=1e10 * 1250, rates=rates)
    assert best.parameters == pytest.approx(2.053e10, rel=1e-3)
    assert best.tokens == pytest.approx(3.302e12, rel=1e-3)
    assert 100 * best.parameters / best.chinchilla.parameters == pytest.approx(60.23, abs=0.01)
    assert 100 * best.tokens / best.chinchilla.tokens == pytest.approx(182.41, abs=0.01)
    assert 100 * (1 - best.saved_fraction) == pytest.approx(88.76, abs=0.01)


@pytest.mark.parametrize(
    ("size", "requests", "best_size", "best_data", "saving", "dollars", "best_dollars"),
    [
        (30e9, 1.5e9, 15.67e9, 3.507e12, 0.190, 1.702e6, 1.379e6),
        (70e9, 2e12 / 285, 31.6e9, 12.2e12, 0.2832, 1.518e7, 1.088e7),
    ],
)
def test_dollars_at_listed_prices(
    size: float,
    requests: float,
    best_size: float,
    best_data: float,
    saving: float,
    dollars: float,
    best_dollars: float,
) -> None:
    rates = CostRates.of_hardware(A100_80, A100_40, **PAPER_PRICES)
    best = lifetime_optimum(SARDANA, quality_of=size, inference_tokens=285 * requests, rates=rates)
    assert best.parameters == pytest.approx(best_size, rel=2e-3)
    assert best.tokens == pytest.approx(best_data, rel=4e-3)
    assert best.saved_fraction == pytest.approx(saving, abs=1e-3)
    assert best.cost == pytest.approx(best_dollars, rel=1e-3)
    assert best.cost / (1 - best.saved_fraction) == pytest.approx(dollars, rel=1e-3)


@pytest.mark.parametrize(
    ("size", "requests", "best_size", "best_data", "saving"),
    [(30e9, 1.5e9, 16e9, 3.35e12, 0.17), (70e9, 2e12 / 285, 32.5e9, 11.6e12, 1 - 1 / 1.36)],
)
def test_the_papers_dollar_cases(
    size: float, requests: float, best_size: float, best_data: float, saving: float
) -> None:
    # The paper's figures need a price ratio of 0.3293; the prices it lists give 0.3667, for an unknown reason.
    effective = CostRates.dollars(train_usd_per_flop=1.0, inference_usd_per_flop=0.3293)
    best = lifetime_optimum(SARDANA, quality_of=size, inference_tokens=285 * requests, rates=effective)
    assert best.parameters == pytest.approx(best_size, rel=0.01)
    assert best.tokens == pytest.approx(best_data, rel=0.01)
    assert best.saved_fraction == pytest.approx(saving, abs=0.005)
    listed = CostRates.of_hardware(A100_80, A100_40, **PAPER_PRICES)
    best = lifetime_optimum(SARDANA, quality_of=size, inference_tokens=285 * requests, rates=listed)
    assert best.parameters == pytest.approx(best_size, rel=0.05)
    assert best.tokens == pytest.approx(best_data, rel=0.09)
    assert best.saved_fraction == pytest.approx(saving, abs=0.02)


def test_single_values() -> None:
    by_compute, by_data = SARDANA.chinchilla(train_flops=1e24), SARDANA.chinchilla(tokens=1e12)
    assert by_compute.parameters == pytest.approx(5.368e10, rel=1e-4)
    assert by_compute.tokens == pytest.approx(3.105e12, rel=2e-4)
    assert by_compute.loss == pytest.approx(1.9106, abs=5e-5)
    # The authors' script gives 5.610e23 and 4.122e10 here: it drops a factor and a power.
    assert by_data.train_flops == pytest.approx(1.240e23, rel=5e-4)
    assert by_data.parameters == pytest.approx(2.067e10, rel=5e-4)
    assert SARDANA.loss(13e9, 1e12) == pytest.approx(2.017446, abs=5e-7)
    assert SARDANA.loss(7e9, 1e23 / 6 / 7e9) == pytest.approx(2.019080, abs=5e-7)
    assert SARDANA.loss(70e9, 1e13) == pytest.approx(1.868263, abs=5e-7)


def test_training_dollars() -> None:
    h100 = Hardware.preset("h100")
    rates = CostRates.of_hardware(h100, h100, train_precision="bf16", inference_precision="fp8")
    assert lifetime_cost(70e9, 1e13, 0.0, rates) == pytest.approx(4.719e6, rel=5e-4)
    # The authors' script ignores the prices it is given and prints $3.146e5 / $6.378e5.
    rates = CostRates.of_hardware(
        Hardware.preset("h100", usd_per_hour=1.50),
        Hardware.preset("a100-40", usd_per_hour=0.60),
        output_fraction=1 / 6,
        **PAPER_PRICES,
    )
    tokens = SARDANA.chinchilla(parameters=30e9).tokens
    assert lifetime_cost(30e9, tokens, 0.0, rates) == pytest.approx(2.360e5, rel=5e-4)
    assert lifetime_cost(30e9, tokens, 600e9, rates) == pytest.approx(4.123e5, rel=5e-4)


@pytest.mark.parametrize(
    ("size", "tokens", "paper", "besiroglu"),
    [(8.03e9, 15e12, 5.87, 12.6), (70e9, 1.4e12, -0.81, 0.09), (175e9, 0.3e12, -1.96, -1.72)],
    ids=["Llama-3-8B", "Chinchilla-70B", "GPT-3"],
)
def test_inverse_demand(size: float, tokens: float, paper: float, besiroglu: float) -> None:
    assert optimal_demand(SARDANA, size, tokens) / tokens == pytest.approx(paper, abs=0.005)
    assert optimal_demand(BESIROGLU, size, tokens) / tokens == pytest.approx(
        besiroglu, abs=0.05 if besiroglu > 1 else 0.005
    )


def test_de_vries_overhead() -> None:
    data_factor, overhead = smaller_model_overhead(SARDANA, [0.75, 0.5, 0.3])
    assert data_factor == pytest.approx([1.371, 2.416, 6.852], abs=5e-4)
    assert 100 * overhead == pytest.approx([2.8, 20.8, 105.6], abs=0.05)


@pytest.mark.parametrize(
    ("size", "demand", "best_size", "data_ratio", "saving"),
    [
        (7e9, 1e11, 5.60e9, 1.275, 2.2),
        (13e9, 2e12, 6.10e9, 2.83, 29.0),
        (30e9, 1e13, 11.6e9, 4.25, 42.7),
        (70e9, 2e12, 48.1e9, 1.543, 6.7),
    ],
)
def test_besiroglu_cases(size: float, demand: float, best_size: float, data_ratio: float, saving: float) -> None:
    best = lifetime_optimum(BESIROGLU, quality_of=size, inference_tokens=demand)
    assert best.parameters == pytest.approx(best_size, rel=3e-3)
    assert best.tokens / best.chinchilla.tokens == pytest.approx(data_ratio, rel=2e-3)
    assert 100 * best.saved_fraction == pytest.approx(saving, abs=0.05)


@pytest.mark.parametrize(
    ("name", "size_share", "tokens_per_parameter"),
    [
        ("hoffmann2022", 0.452, 109),
        ("hoffmann2022-tex", 0.456, 66),
        ("sardana2024", 0.457, 61),
        ("besiroglu2024", 0.513, 18.4),
        ("muennighoff2023", 0.500, 19.6),
        ("sardana2024-all", 0.564, 3.1),
        ("sardana2024-100", 0.621, 88),
        ("krajewski2024", 0.502, 42.6),
    ],
)
def test_presets(name: str, size_share: float, tokens_per_parameter: float) -> None:
    law = LossLaw.preset(name)
    assert law.size_share == pytest.approx(size_share, abs=5e-4)
    ratio = float(law.chinchilla(parameters=70e9).tokens) / 70e9
    assert ratio == pytest.approx(tokens_per_parameter, rel=0.015)


@pytest.mark.parametrize(
    ("name", "smallest"),
    [("sardana2024", 0.0974), ("hoffmann2022", 0.0965), ("hoffmann2022-tex", 0.0991), ("besiroglu2024", 0.1464)],
)
def test_smallest_size(name: str, smallest: float) -> None:
    law = LossLaw.preset(name)
    assert law.smallest_size_ratio == pytest.approx(smallest, abs=5e-5)
    best = lifetime_optimum(law, quality_of=1e9, inference_tokens=1e30)
    assert best.parameters / 1e9 == pytest.approx(law.smallest_size_ratio, rel=1e-3)

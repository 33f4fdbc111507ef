"""Slopes, and what each scheme of positions does to queries, keys and embeddings."""

import math
from collections.abc import Callable

import pytest
import torch

from modules.layers import AlibiPositions, LearnedPositions, Positions, RotaryPositions, alibi_slopes

PAPER_SLOPES_12 = [0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125, 0.00390625]
PAPER_SLOPES_12 += [0.70710678, 0.35355339, 0.1767767, 0.08838835]


def slopes_by_recursion(num_heads: int) -> list[float]:
    """Another coding: geometric series from a start, then every other slope of twice as many heads."""
    if math.log2(num_heads).is_integer():
        start = 2 ** (-(2 ** -(math.log2(num_heads) - 3)))
        return [start * start**k for k in range(num_heads)]
    lower = 2 ** math.floor(math.log2(num_heads))
    return slopes_by_recursion(lower) + slopes_by_recursion(2 * lower)[0::2][: num_heads - lower]


def test_slopes_of_eight_heads_are_powers_of_two() -> None:
    assert alibi_slopes(8).tolist() == [2.0**-k for k in range(1, 9)]


def test_slopes_of_twelve_heads_keep_the_order_of_the_paper() -> None:
    torch.testing.assert_close(alibi_slopes(12), torch.tensor(PAPER_SLOPES_12), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("num_heads", [1, 2, 3, 6, 10, 16, 20, 32])
def test_slopes_equal_an_independent_coding(num_heads: int) -> None:
    slopes = alibi_slopes(num_heads)
    assert slopes.dtype == torch.float32
    torch.testing.assert_close(slopes.double(), torch.tensor(slopes_by_recursion(num_heads), dtype=torch.float64))


def test_no_heads_are_refused() -> None:
    with pytest.raises(ValueError, match="num_heads=0 must be at least 1"):
        alibi_slopes(0)


def test_alibi_slopes_stay_exact_through_casts_and_meta_devices() -> None:
    expected = alibi_slopes(12)
    assert torch.equal(AlibiPositions(768, 12).to(torch.bfloat16).slopes_H, expected)
    with torch.device("meta"):
        positions = AlibiPositions(768, 12)
    assert positions.slopes_H.is_meta
    assert torch.equal(positions.to_empty(device="cpu").slopes_H, expected)
    assert positions.state_dict() == {}


def test_the_bare_slot_changes_nothing() -> None:
    positions, x, places = Positions(8, 2), torch.randn(5, 2, 4), torch.arange(5)
    assert positions.slopes_H is None
    assert positions.rotate(x, x, places) == (x, x)
    assert positions.embed(x, places) is x


def test_learned_positions_add_their_row() -> None:
    positions, hidden, places = LearnedPositions(8, 2, max_positions=4), torch.randn(3, 8), torch.tensor([0, 1, 0])
    assert torch.equal(positions.embed(hidden, places), hidden + positions.table.weight[places])
    assert positions.max_positions == 4


def test_rotary_scores_depend_on_distance_alone() -> None:
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 4, 16, dtype=torch.float64).expand(2, 30, 4, 16)
    q_rotated, k_rotated = RotaryPositions(64, 4).rotate(q, k, torch.arange(30))
    scores = torch.einsum("ihc,jhc->hij", q_rotated, k_rotated)
    torch.testing.assert_close(scores[:, 3, 7], scores[:, 20, 24])
    torch.testing.assert_close(scores[:, 0, 0], (q * k)[0].sum(-1))
    assert (scores[:, 3, 7] - scores[:, 7, 3]).abs().max() > 1e-3  # unlike ALiBi it tells left from right


def test_rotary_equals_a_product_of_complex_numbers() -> None:
    x, places = torch.randn(6, 1, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 100, 7])
    rotated, _ = RotaryPositions(8, 1, base=100.0).rotate(x, x, places)
    angles = places[:, None] * torch.tensor([100 ** (-c / 4) for c in range(4)], dtype=torch.float64)
    turned = torch.complex(x[:, 0, :4], x[:, 0, 4:]) * torch.polar(torch.ones_like(angles), angles)
    torch.testing.assert_close(rotated[:, 0], torch.cat((turned.real, turned.imag), -1))


def test_rotary_angles_of_bfloat16_heads_are_computed_in_float32() -> None:
    x = torch.ones(2, 1, 4, dtype=torch.bfloat16)
    rotated, _ = RotaryPositions(4, 1).rotate(x, x, torch.tensor([1000, 1001]))
    exact, _ = RotaryPositions(4, 1).rotate(x.double(), x.double(), torch.tensor([1000, 1001]))
    assert rotated.dtype == torch.bfloat16
    assert (rotated - exact).abs().max() < 0.01


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LearnedPositions(8, 2, max_positions=0), "max_positions=0 must be at least 1"),
        (lambda: RotaryPositions(6, 2), "even number of channels per head: dim=6, num_heads=2"),
        (lambda: RotaryPositions(8, 2, base=1.0), "base=1.0 must be above 1"),
    ],
)
def test_wrong_values_are_named(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()

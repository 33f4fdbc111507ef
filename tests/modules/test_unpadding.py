"""Padding and unpadding: exact, one the inverse and the derivative of the other, and blind to filler."""

import pytest
import torch

from modules.layers.unpadding import Padding, zero_filler

CU_SEQLENS = torch.tensor([0, 0, 2, 2, 5, 6, 6], dtype=torch.int32)  # lengths 0, 2, 0, 3, 1, 0
NUM_REAL, NUM_TOKENS, NUM_SLOTS = 6, 9, 4


def padding() -> Padding:
    return Padding.from_cu_seqlens(CU_SEQLENS, NUM_SLOTS, NUM_TOKENS)


def test_map_is_the_one_written_by_hand() -> None:
    assert padding().slot_T.tolist() == [4, 5, 12, 13, 14, 16, -1, -1, -1]
    _ = -1
    assert padding().token_BS.tolist() == [
        [_, _, _, _],
        [0, 1, _, _],
        [_, _, _, _],
        [2, 3, 4, _],
        [5, _, _, _],
        [_, _, _, _],
    ]


def test_round_trip_restores_real_tokens_and_clears_filler() -> None:
    x = torch.randn(NUM_TOKENS, 2, 3)
    x[NUM_REAL:] = float("nan")  # whatever filler holds must not come through
    padded = padding().pad(x)
    assert padded.shape == (6, NUM_SLOTS, 2, 3)
    assert padded.isfinite().all()
    assert padded.abs().sum() == pytest.approx(x[:NUM_REAL].abs().sum().item(), rel=1e-6)
    back = padding().unpad(padded)
    assert torch.equal(back[:NUM_REAL], x[:NUM_REAL])
    assert torch.equal(back[NUM_REAL:], torch.zeros(3, 2, 3))


@pytest.mark.parametrize("way", ["pad", "unpad"])
def test_derivatives_are_right_to_second_order(way: str) -> None:
    shape = (NUM_TOKENS, 2) if way == "pad" else (6, NUM_SLOTS, 2)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(getattr(padding(), way), x)
    assert torch.autograd.gradgradcheck(getattr(padding(), way), x)


def test_zero_filler_clears_values_and_gradients() -> None:
    x = torch.full((NUM_TOKENS, 2), float("nan"))
    x[:NUM_REAL] = 1.0
    x.requires_grad_()
    out = zero_filler(x, CU_SEQLENS)
    (out * torch.full_like(out, 3.0)).sum().backward()
    assert out[:NUM_REAL].eq(1).all()
    assert out[NUM_REAL:].eq(0).all()
    assert x.grad is not None
    assert x.grad[:NUM_REAL].eq(3).all()
    assert x.grad[NUM_REAL:].eq(0).all()

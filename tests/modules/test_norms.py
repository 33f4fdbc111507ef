"""Layer norms: low precision is on under autocast, and only there."""

import torch
from torch import nn

from modules.layers import LayerNorm, LowPrecisionLayerNorm


def norm_with_weights(kind: type[LayerNorm]) -> LayerNorm:
    torch.manual_seed(0)
    norm = kind(64)
    nn.init.normal_(norm.weight, mean=1.0, std=0.1)
    nn.init.normal_(norm.bias, std=0.1)
    return norm


def test_layer_norm_is_the_formula() -> None:
    norm, x = norm_with_weights(LayerNorm).double(), 3 + torch.randn(10, 64, dtype=torch.float64)
    centred = x - x.mean(-1, keepdim=True)
    expected = centred / (centred.square().mean(-1, keepdim=True) + 1e-12).sqrt() * norm.weight + norm.bias
    torch.testing.assert_close(norm(x), expected, rtol=1e-12, atol=1e-12)


def test_low_precision_norm_equals_the_plain_one_without_autocast() -> None:
    x = torch.randn(10, 64)
    out = norm_with_weights(LowPrecisionLayerNorm)(x)
    assert out.dtype == torch.float32
    assert torch.equal(out, norm_with_weights(LayerNorm)(x))


def test_low_precision_norm_answers_in_bfloat16_under_autocast() -> None:
    x = torch.randn(1000, 64)
    exact = norm_with_weights(LayerNorm)(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = norm_with_weights(LowPrecisionLayerNorm)(x)
    assert out.dtype == torch.bfloat16
    # one rounding of input, weight, bias and output each, at 2^-9 of values up to about 4
    assert 0 < (out.float() - exact).abs().max() < 4 * 4 * 2**-8


def test_low_precision_norm_sends_float32_gradients_to_its_weights() -> None:
    norm, exact = norm_with_weights(LowPrecisionLayerNorm), norm_with_weights(LayerNorm)
    x, grad = torch.randn(500, 64), torch.randn(500, 64)
    exact(x).backward(grad)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = norm(x)
    out.backward(grad.bfloat16())
    assert norm.weight.grad is not None
    assert exact.weight.grad is not None
    assert norm.weight.grad.dtype == torch.float32
    # the CPU kernel sums over rows in bfloat16; a GPU does it in float32
    assert (norm.weight.grad - exact.weight.grad).norm() < 0.05 * exact.weight.grad.norm()


def test_gradients_in_float64() -> None:
    norm = norm_with_weights(LowPrecisionLayerNorm).double()
    assert torch.autograd.gradcheck(norm, (torch.randn(3, 64, dtype=torch.float64, requires_grad=True),))

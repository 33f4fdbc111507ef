"""Feed-forward parts against their formulas."""

import torch
from torch import nn

from modules.layers import GatedLinearUnit, Mlp


def erf_gelu(x: torch.Tensor) -> torch.Tensor:
    return x * 0.5 * (1 + torch.erf(x / 2**0.5))


def test_the_first_half_of_the_gated_projection_is_the_gate() -> None:
    glu, x = GatedLinearUnit(6, hidden_dim=5).double(), torch.randn(4, 6, dtype=torch.float64)
    gate, up = glu.gate_up.weight[:5], glu.gate_up.weight[5:]
    expected = (erf_gelu(x @ gate.T) * (x @ up.T)) @ glu.output.weight.T + glu.output.bias
    y, stats = glu(x)
    assert stats is None
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    other_half = (x @ gate.T * erf_gelu(x @ up.T)) @ glu.output.weight.T + glu.output.bias
    assert not torch.allclose(y, other_half)


def test_only_the_output_projection_of_the_glu_has_a_bias() -> None:
    glu = GatedLinearUnit(6, hidden_dim=5)
    assert glu.gate_up.bias is None
    assert glu.output.bias.shape == (6,)
    both = GatedLinearUnit(6, hidden_dim=5, bias_in=True, bias_out=False)
    assert both.gate_up.bias.shape == (10,)
    assert both.output.bias is None


def test_glu_dropout_acts_before_the_output_projection() -> None:
    torch.manual_seed(0)
    glu = GatedLinearUnit(64, hidden_dim=4000, dropout=0.5)
    glu.register_module("output", nn.Identity())  # shows what enters the projection
    x = torch.randn(1, 64)
    dropped, kept = glu(x)[0], glu.eval()(x)[0]
    zeros = (dropped == 0).float().mean()
    assert 0.45 < zeros < 0.55
    torch.testing.assert_close(dropped[dropped != 0], 2 * kept[dropped != 0])


def test_glu_has_no_dropout_after_the_output_projection() -> None:
    glu = GatedLinearUnit(64, hidden_dim=256, dropout=0.5)
    assert (glu(torch.randn(100, 64))[0] == 0).sum() == 0


def test_the_mlp_is_berts() -> None:
    mlp, x = Mlp(6, hidden_dim=5, dropout=0.3).double().eval(), torch.randn(4, 6, dtype=torch.float64)
    expected = erf_gelu(x @ mlp.input.weight.T + mlp.input.bias) @ mlp.output.weight.T + mlp.output.bias
    torch.testing.assert_close(mlp(x)[0], expected, rtol=1e-12, atol=1e-12)


def test_mlp_dropout_acts_on_the_output() -> None:
    torch.manual_seed(0)
    y, _ = Mlp(100, hidden_dim=8, dropout=0.3)(torch.randn(100, 100))
    assert 0.28 < (y == 0).float().mean() < 0.32


def test_the_activation_is_a_class_of_choice() -> None:
    glu, x = GatedLinearUnit(6, hidden_dim=5, activation=nn.SiLU), torch.randn(4, 6)
    gate, up = glu.gate_up(x).chunk(2, -1)
    torch.testing.assert_close(glu(x)[0], glu.output(gate * gate.sigmoid() * up))


def test_gradients_in_float64() -> None:
    glu, mlp = GatedLinearUnit(4, hidden_dim=3).double(), Mlp(4, hidden_dim=3).double()
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: glu(x)[0], (x,))
    assert torch.autograd.gradcheck(lambda x: mlp(x)[0], (x,))

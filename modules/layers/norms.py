"""Layer normalisation in full and in low precision."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm(nn.LayerNorm):
    """Layer normalisation (arXiv:1607.06450); under autocast on a GPU it runs and answers in float32.

    Args:
        dim: Width.
        eps: Added to the variance.
    """

    def __init__(self, dim: int, *, eps: float = 1e-12) -> None:
        super().__init__(dim, eps=eps)


class LowPrecisionLayerNorm(LayerNorm):
    """Layer normalisation that reads and writes the autocast dtype (arXiv:2312.17482, section 2).

    Under autocast input, weight and bias are cast to its dtype, so that the residual stream, which ends in a norm
    after every sub-layer, moves half the bytes. The kernel still keeps mean and variance in float32. Without
    autocast it is `LayerNorm`.
    """

    def forward(self, input: Tensor) -> Tensor:
        device = input.device.type
        if not torch.is_autocast_enabled(device):
            return super().forward(input)
        dtype = torch.get_autocast_dtype(device)
        weight, bias = self.weight.to(dtype), self.bias.to(dtype)
        with torch.autocast(device, enabled=False):
            return F.layer_norm(input.to(dtype), self.normalized_shape, weight, bias, self.eps)

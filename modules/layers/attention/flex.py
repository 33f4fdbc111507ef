"""torch's FlexAttention, compiled: any length on a GPU without a line of kernel code."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from modules.layers.attention.base import Attention, Workload
from modules.layers.unpadding import Padding

# T tokens of all documents and the filler behind them, B documents, S slots per document, H heads, C channels per head

ScoreMod = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


class FlexAttention(Attention):
    """Pads to [B, H, S, C] and attends with a `score_mod`; no dense mask, no block mask, static shapes."""

    def refusal(self, workload: Workload) -> str | None:
        """Needs a CUDA device (there is no backward pass on CPU) and no attention dropout."""
        if workload.device != "cuda":
            return f"compiled FlexAttention has a backward pass on cuda only, not on {workload.device}"
        if workload.dtype == torch.float64:
            return "FlexAttention computes in float32, float16 or bfloat16, not in float64"
        if workload.dropout > 0:
            return f"attention dropout {workload.dropout} is left to SdpaAttention and ReferenceAttention"
        return None

    def attend(
        self,
        q_THC: Tensor,
        k_THC: Tensor,
        v_THC: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
        slopes_H: Tensor | None,
        dropout: float,
    ) -> Tensor:
        """Shapes as in `Attention.forward`."""
        if cu_seqlens.shape[0] == 1 or q_THC.shape[0] == 0:
            return torch.zeros_like(v_THC)
        padding = Padding.from_cu_seqlens(cu_seqlens, max(max_seqlen, 1), q_THC.shape[0])
        q_BHSC, k_BHSC, v_BHSC = (padding.pad(x_THC).transpose(1, 2) for x_THC in (q_THC, k_THC, v_THC))
        out_BHSC = _flex_attention()(q_BHSC, k_BHSC, v_BHSC, score_mod=score_mod(cu_seqlens, slopes_H))
        return padding.unpad(out_BHSC.transpose(1, 2))


def score_mod(cu_seqlens: Tensor, slopes_H: Tensor | None) -> ScoreMod:
    """What FlexAttention does to each score: the ALiBi bias, and -inf where the key is padding."""
    length_B = cu_seqlens.diff().clamp_min(1)  # an empty document looks at one slot of zeros: no row is all -inf

    def alibi(score: Tensor, b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        biased = score if slopes_H is None else score - slopes_H[h] * (q_idx - kv_idx).abs()
        return torch.where(kv_idx < length_B[b], biased, -float("inf"))

    return alibi


def _flex_attention() -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention  # brings torch's compiler with it

    if torch.compiler.is_compiling():
        return flex_attention
    return _compiled(flex_attention)


@cache
def _compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return torch.compile(function, dynamic=False)

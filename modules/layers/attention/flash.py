"""FlashAttention-2 over ragged documents with ALiBi slopes: any length, on Ampere or newer, if it is installed."""

from importlib.util import find_spec

import torch
from torch import Tensor

from modules.layers.attention.base import Attention, Workload
from modules.layers.unpadding import zero_filler

# T tokens of all documents and the filler behind them, H heads, C channels per head


_IS_INSTALLED = find_spec("flash_attn") is not None


class FlashVarlenAttention(Attention):
    """`flash_attn.flash_attn_varlen_func` with `alibi_slopes`; pads nowhere."""

    def refusal(self, workload: Workload) -> str | None:
        """Needs a CUDA device, a 16-bit dtype, the package flash-attn, and no attention dropout."""
        if workload.device != "cuda":
            return f"flash-attn runs on cuda, not on {workload.device}"
        if workload.dtype not in (torch.float16, torch.bfloat16):
            return f"flash-attn computes in float16 or bfloat16, not in {workload.dtype}"
        if workload.dropout > 0:
            return f"attention dropout {workload.dropout} is left to SdpaAttention and ReferenceAttention"
        if not _IS_INSTALLED:
            return 'flash-attn is not installed: pip install -e ".[flash]" --no-build-isolation'
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
        from flash_attn import flash_attn_varlen_func

        # The kernel leaves garbage in the filler of outputs and gradients; `zero_filler` clears both.
        q_THC, k_THC, v_THC = (zero_filler(x_THC, cu_seqlens) for x_THC in (q_THC, k_THC, v_THC))
        slopes_H = None if slopes_H is None else slopes_H.float()
        out_THC = flash_attn_varlen_func(
            q_THC, k_THC, v_THC, cu_seqlens, cu_seqlens, max_seqlen, max_seqlen, alibi_slopes=slopes_H
        )
        return zero_filler(out_THC, cu_seqlens)

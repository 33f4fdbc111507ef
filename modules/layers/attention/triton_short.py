"""Our own Triton kernel in the attention slot: documents of at most 128 tokens, one tile each."""

from importlib.util import find_spec

from torch import Tensor

from modules.layers.attention.base import Attention, Workload

# T tokens of all documents and the filler behind them, H heads, C channels per head


_IS_INSTALLED = find_spec("triton") is not None


class TritonShortAttention(Attention):
    """`modules.kernels.short_attention`: ragged, no padding, no dense bias, forward and backward in one pass each."""

    def refusal(self, workload: Workload) -> str | None:
        """Needs a CUDA device, triton, a 16-bit dtype, short documents, common head widths and no attention dropout."""
        if workload.device != "cuda":
            return f"Triton kernels run on cuda, not on {workload.device}"
        if not _IS_INSTALLED:
            return "triton is not installed: pip install triton"
        from modules.kernels.short_attention import DTYPES, HEAD_DIMS, MAX_SEQLEN

        if workload.max_seqlen > MAX_SEQLEN:
            return f"max_seqlen={workload.max_seqlen} exceeds the {MAX_SEQLEN} tokens of one tile"
        if workload.head_dim not in HEAD_DIMS:
            return f"head_dim={workload.head_dim} is none of {HEAD_DIMS}"
        if workload.dtype not in DTYPES:
            return f"{workload.dtype} is none of {DTYPES}"
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
        from modules.kernels.short_attention import short_attention  # triton is imported where it is used

        return short_attention(q_THC, k_THC, v_THC, cu_seqlens, max_seqlen, slopes_H=slopes_H)

"""Our own Triton kernel in the attention slot: documents of at most 128 tokens, one tile each."""

from importlib.util import find_spec

from torch import Tensor

from modules.layers.attention.base import Attention, Workload

# T tokens of all documents and the filler behind them, H heads, C channels per head

_LONGEST_TOKENS = 128
_WIDEST_ROW_BYTES = 256  # four tiles of 128 such rows fit the shared memory of an H100


class TritonShortAttention(Attention):
    """`modules.kernels.short_attention`: ragged, no padding, no dense bias, forward and backward in one pass each."""

    def refusal(self, workload: Workload) -> str | None:
        """Needs a CUDA device, triton, documents of at most 128 tokens, few channels and no attention dropout."""
        row_bytes = workload.head_dim * workload.dtype.itemsize
        if workload.device != "cuda":
            return f"Triton kernels run on cuda, not on {workload.device}"
        if find_spec("triton") is None:
            return "triton is not installed: pip install triton"
        if workload.max_seqlen > _LONGEST_TOKENS:
            return f"max_seqlen={workload.max_seqlen} exceeds the {_LONGEST_TOKENS} tokens of one tile"
        if workload.dtype.itemsize > 4 or workload.head_dim not in (16, 32, 64, 128) or row_bytes > _WIDEST_ROW_BYTES:
            return (
                f"head_dim={workload.head_dim} in {workload.dtype}: 16, 32, 64 (or 128 in 16 bits) channels fit a tile"
            )
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

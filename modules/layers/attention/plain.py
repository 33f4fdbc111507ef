"""The plain-torch backend: any device, any dtype, one document after another. Slow, and the truth."""

from torch import Tensor

from modules.kernels import ragged_attention
from modules.layers.attention.base import Attention, Workload

# T tokens of all documents and the filler behind them, H heads, C channels per head


class ReferenceAttention(Attention):
    """`modules.kernels.ragged_attention` in the attention slot. Waits for the device to learn the document lengths."""

    def refusal(self, workload: Workload) -> str | None:
        """Serves everything."""
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
        return ragged_attention(q_THC, k_THC, v_THC, cu_seqlens, slopes_H=slopes_H, dropout=dropout)

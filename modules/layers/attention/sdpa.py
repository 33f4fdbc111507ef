"""torch's scaled_dot_product_attention: the fast path on CPU, and the portable one everywhere else."""

import torch
import torch.nn.functional as F
from torch import Tensor

from modules.layers.attention.base import Attention, Workload
from modules.layers.unpadding import Padding

# T tokens of all documents and the filler behind them, B documents, S slots per document, H heads, C channels per head


class SdpaAttention(Attention):
    """Pads to [B, H, S, C], attends with a dense mask, unpads. Exact forward and backward; takes attention dropout."""

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
        if cu_seqlens.shape[0] == 1 or q_THC.shape[0] == 0:
            return torch.zeros_like(v_THC)
        padding = Padding.from_cu_seqlens(cu_seqlens, max(max_seqlen, 1), q_THC.shape[0])
        q_BHSC, k_BHSC, v_BHSC = (padding.pad(x_THC).transpose(1, 2) for x_THC in (q_THC, k_THC, v_THC))
        mask_BHSS = _mask(padding.is_real_BS, slopes_H, _mask_dtype(q_THC))
        out_BHSC = F.scaled_dot_product_attention(q_BHSC, k_BHSC, v_BHSC, attn_mask=mask_BHSS, dropout_p=dropout)
        return padding.unpad(out_BHSC.transpose(1, 2))


def _mask(is_key_BS: Tensor, slopes_H: Tensor | None, dtype: torch.dtype) -> Tensor:
    """0 or the ALiBi bias where a query may look, -inf where the key is padding; [B, 1 or H, S, S]."""
    num_slots = is_key_BS.shape[1]
    place_S = torch.arange(num_slots, device=is_key_BS.device)
    # An empty document looks at one slot of zeros, because a row of -inf alone would give NaN.
    is_key_BS = is_key_BS | (place_S == 0)
    if slopes_H is None:
        bias_HSS = torch.zeros(1, num_slots, num_slots, dtype=dtype, device=is_key_BS.device)
    else:
        slopes_H = slopes_H.to(torch.promote_types(dtype, torch.float32))  # round the product, not its factors
        bias_HSS = (-slopes_H[:, None, None] * (place_S[:, None] - place_S).abs()).to(dtype)
    return torch.where(is_key_BS[:, None, None, :], bias_HSS, float("-inf"))


def _mask_dtype(q_THC: Tensor) -> torch.dtype:
    # The fused kernels of a GPU want the mask in the dtype of q; those of a CPU take it in fp32, which rounds nothing.
    return q_THC.dtype if q_THC.is_cuda else torch.promote_types(q_THC.dtype, torch.float32)

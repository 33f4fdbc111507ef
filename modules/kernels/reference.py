"""Attention over ragged documents in plain torch, one after another: the truth every kernel is measured against.

Letters: T tokens of all documents and the filler behind them, N tokens of one document, H heads, C channels per head.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor


def ragged_attention(
    q_THC: Tensor,
    k_THC: Tensor,
    v_THC: Tensor,
    cu_seqlens: Tensor,
    *,
    slopes_H: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Bidirectional attention inside each document, with the ALiBi bias of MosaicBERT (arXiv:2312.17482, section 2.1).

    softmax_j(q_i . k_j / sqrt(C) - slopes[h] * |i - j|) v_j, the softmax in fp32 or better.

    Args:
        q_THC: Queries.
        k_THC: Keys.
        v_THC: Values.
        cu_seqlens: int32[B+1], where each document starts; documents may be empty, T may exceed the last entry.
        slopes_H: ALiBi slope of each head; None for no bias.
        dropout: Probability of dropping an attention probability.

    Returns:
        out_THC, exactly zero past `cu_seqlens[-1]`: filler takes part in nothing, and its gradient is exactly zero.
    """
    bounds = cu_seqlens.tolist()
    sizes = [end - start for start, end in pairwise(bounds)]
    num_filler = q_THC.shape[0] - bounds[-1]
    *documents, _ = zip(*(x.split([*sizes, num_filler]) for x in (q_THC, k_THC, v_THC)), strict=True)
    outputs = [_attend(q_NHC, k_NHC, v_NHC, slopes_H, dropout) for q_NHC, k_NHC, v_NHC in documents]
    return torch.cat([*outputs, v_THC.new_zeros(num_filler, *v_THC.shape[1:])])


def _attend(q_NHC: Tensor, k_NHC: Tensor, v_NHC: Tensor, slopes_H: Tensor | None, dropout: float) -> Tensor:
    scores_HNN = torch.einsum("ihc,jhc->hij", q_NHC, k_NHC) * q_NHC.shape[-1] ** -0.5
    scores_HNN = scores_HNN.to(torch.promote_types(q_NHC.dtype, torch.float32))  # softmax and bias in fp32 or better
    if slopes_H is not None:
        place_N = torch.arange(q_NHC.shape[0], device=q_NHC.device)
        scores_HNN = scores_HNN - slopes_H.to(scores_HNN)[:, None, None] * (place_N[:, None] - place_N).abs()
    probs_HNN = F.dropout(scores_HNN.softmax(dim=-1).to(v_NHC.dtype), dropout)
    return torch.einsum("hij,jhc->ihc", probs_HNN, v_NHC)

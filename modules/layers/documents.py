"""Where each token of a ragged batch stands in its document, and pooling over documents.

Letters: T tokens over all documents with the filler behind them, B documents, D width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Documents(NamedTuple):
    """The documents of a ragged batch, as the layers need to know them."""

    cu_seqlens: Tensor
    """int32[B+1], where each document starts; the last entry is the number of real tokens."""
    max_seqlen: int
    """Upper bound of the document lengths."""
    positions_T: Tensor
    """int64, place of each token in its document; 0 for filler."""
    valid_T: Tensor
    """bool, False for filler."""


def locate(num_tokens: int, cu_seqlens: Tensor, max_seqlen: int) -> Documents:
    """Work out the place of each of `num_tokens` tokens, filler included, without waiting for the device."""
    tokens_T = torch.arange(num_tokens, device=cu_seqlens.device)
    starts_T = cu_seqlens[document_of_token(num_tokens, cu_seqlens)].long()
    valid_T = tokens_T < cu_seqlens[-1]
    return Documents(cu_seqlens, max_seqlen, torch.where(valid_T, tokens_T - starts_T, 0), valid_T)


def document_of_token(num_tokens: int, cu_seqlens: Tensor) -> Tensor:
    """Number of the document each token belongs to, int64[T]; B for filler. Documents may be empty."""
    tokens_T = torch.arange(num_tokens, device=cu_seqlens.device, dtype=cu_seqlens.dtype)
    return torch.searchsorted(cu_seqlens, tokens_T, right=True) - 1


def mean_pool(hidden_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Mean over the tokens of each document, at least in float32.

    Returns:
        pooled_BD; zero for an empty document.
    """
    num_documents = cu_seqlens.shape[0] - 1
    dtype = torch.promote_types(hidden_TD.dtype, torch.float32)
    sums = hidden_TD.new_zeros(num_documents + 1, hidden_TD.shape[1], dtype=dtype)  # the last row collects the filler
    sums = sums.index_add(0, document_of_token(hidden_TD.shape[0], cu_seqlens), hidden_TD.to(dtype))
    return sums[:-1] / cu_seqlens.diff().clamp(min=1).unsqueeze(1)

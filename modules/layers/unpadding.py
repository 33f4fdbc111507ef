"""From ragged to padded and back, for kernels that know only rectangles. Nothing else in the collection pads.

Both directions are gathers, forward and backward: the derivative of one is the other, so no atomics and no sorting.
Letters: T tokens of all documents and the filler behind them, B documents, S slots per document.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from modules.layers.documents import document_of_token


@dataclass(frozen=True)
class Padding:
    """The one-to-one map between real tokens and slots of a [B, S] rectangle; -1 where there is no partner.

    Attributes:
        slot_T: int64[T], the slot in B * S of each token, -1 for filler.
        token_BS: int64[B, S], the token of each slot, -1 for padding.
    """

    slot_T: Tensor
    token_BS: Tensor

    @classmethod
    def from_cu_seqlens(cls, cu_seqlens: Tensor, num_slots: int, num_tokens: int) -> Padding:
        """Builds the map without waiting for the device.

        Args:
            cu_seqlens: int32[B+1], where each document starts.
            num_slots: S, at least as long as the longest document.
            num_tokens: T, filler included.
        """
        start_B, end_B = cu_seqlens[:-1].long(), cu_seqlens[1:].long()
        token_BS = start_B[:, None] + torch.arange(num_slots, device=cu_seqlens.device)
        token_BS = token_BS.masked_fill(token_BS >= end_B[:, None], -1)

        document_T = document_of_token(num_tokens, cu_seqlens)
        is_filler_T = document_T == start_B.shape[0]
        token_T = torch.arange(num_tokens, device=cu_seqlens.device)
        slot_T = document_T * num_slots + token_T - cu_seqlens.long()[document_T]
        return cls(slot_T.masked_fill(is_filler_T, -1), token_BS)

    @property
    def is_real_BS(self) -> Tensor:
        """bool[B, S], False for padding."""
        return self.token_BS >= 0

    def pad(self, x_T: Tensor) -> Tensor:
        """[T, ...] to [B, S, ...]; padding is exactly zero."""
        return _Gather.apply(x_T, self.token_BS.flatten(), self.slot_T).unflatten(0, self.token_BS.shape)

    def unpad(self, x_BS: Tensor) -> Tensor:
        """[B, S, ...] to [T, ...]; filler is exactly zero."""
        return _Gather.apply(x_BS.flatten(0, 1), self.slot_T, self.token_BS.flatten())


class _Gather(torch.autograd.Function):
    """Rows by index, zero where the index is -1; `inverse` is the index that leads back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(index, inverse)
        rows = x.index_select(0, index.clamp_min(0))
        return rows.masked_fill_((index < 0).view(-1, *(1,) * (x.ndim - 1)), 0.0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        index, inverse = ctx.saved_tensors
        return _Gather.apply(grad, inverse, index), None, None


def zero_filler(x_T: Tensor, cu_seqlens: Tensor) -> Tensor:
    """The same [T, ...] with exact zeros past `cu_seqlens[-1]`, in its gradient too."""
    is_real_T = torch.arange(x_T.shape[0], device=x_T.device) < cu_seqlens[-1]
    return torch.where(is_real_T.view(-1, *(1,) * (x_T.ndim - 1)), x_T, 0.0)

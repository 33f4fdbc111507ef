"""One transformer block: attention and feed-forward, each with its residual and its norm.

Letters: T tokens over all documents, R rows whose output is wanted, D width, H heads, C channels of a head.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from modules.contracts import RouterStats
from modules.layers.attention import Attention
from modules.layers.documents import Documents
from modules.layers.feedforward import FeedForward
from modules.layers.linear import Linear
from modules.layers.positions import Positions

NormPosition = Literal["post", "pre"]


class Block(nn.Module):
    """Attention, then feed-forward, over tokens without padding.

    Post-norm (BERT, MosaicBERT): `y = norm(x + dropout(dense(attention(x))))`, `out = norm(y + feedforward(y))`.
    Pre-norm: `y = x + dropout(dense(attention(norm(x))))`, `out = y + feedforward(norm(y))`.

    Args:
        dim: Width D of the model, a multiple of `num_heads`.
        num_heads: Heads H.
        attention: The attention itself; it keeps no weights and may be shared by blocks.
        feedforward: Builds the feed-forward from `dim`.
        norm: Builds a norm from `dim`.
        norm_position: Norm after each residual sum, or before each sub-layer.
        dropout: Probability that an output of the attention's projection is dropped.
        attention_dropout: Probability that an attention weight is dropped.
    """

    def __init__(
        self,
        dim: int,
        *,
        num_heads: int,
        attention: Attention,
        feedforward: Callable[[int], FeedForward],
        norm: Callable[[int], nn.Module],
        norm_position: NormPosition = "post",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.pre_norm = norm_position == "pre"
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.attention = attention
        self.qkv = Linear(dim, 3 * dim)
        self.attention_output = Linear(dim, dim)
        self.attention_norm = norm(dim)
        self.feedforward = feedforward(dim)
        self.feedforward_norm = norm(dim)

    def forward(
        self, x_TD: Tensor, documents: Documents, positions: Positions, rows: Tensor | None = None
    ) -> tuple[Tensor, RouterStats | None]:
        """Transform every token, or those in `rows` alone, which still attend to all.

        Args:
            x_TD: Tokens of all documents, filler included.
            documents: Where the documents lie.
            positions: The model's positions; they stand here, not in the block, because all blocks share them.
            rows: int64[R], tokens whose output is wanted; they may repeat. None: all.

        Returns:
            Output [T, D] or [R, D], and the routing of the feed-forward, if it routes.
        """
        attended_TD = self._attend(self.attention_norm(x_TD) if self.pre_norm else x_TD, documents, positions)
        valid_T = documents.valid_T
        if rows is not None:  # what follows works on each token alone: do it for these only
            x_TD, attended_TD, valid_T = (t.index_select(0, rows) for t in (x_TD, attended_TD, valid_T))
        y_TD = x_TD + F.dropout(self.attention_output(attended_TD), self.dropout, self.training)
        if self.pre_norm:
            change_TD, stats = self.feedforward(self.feedforward_norm(y_TD), valid_T)
            return y_TD + change_TD, stats
        y_TD = self.attention_norm(y_TD)
        change_TD, stats = self.feedforward(y_TD, valid_T)
        return self.feedforward_norm(y_TD + change_TD), stats

    def _attend(self, x_TD: Tensor, documents: Documents, positions: Positions) -> Tensor:
        q_THC, k_THC, v_THC = self.qkv(x_TD).view(x_TD.shape[0], 3, self.num_heads, -1).unbind(1)
        q_THC, k_THC = positions.rotate(q_THC, k_THC, documents.positions_T)
        attended_THC = self.attention(
            q_THC,
            k_THC,
            v_THC,
            documents.cu_seqlens,
            documents.max_seqlen,
            slopes_H=positions.slopes_H,
            dropout=self.attention_dropout if self.training else 0.0,
        )
        return attended_THC.flatten(1)

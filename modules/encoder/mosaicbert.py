"""MosaicBERT (arXiv:2312.17482). Try: galley fit -c yaml/mosaicbert/tiny.yaml (CPU, under three minutes)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from modules.encoder.core import Encoder, check_one_hidden_dim
from modules.layers.attention import Attention, AutoAttention
from modules.layers.block import NormPosition
from modules.layers.feedforward import FeedForward, GatedLinearUnit
from modules.layers.norms import LowPrecisionLayerNorm
from modules.layers.positions import AlibiPositions, Positions


class MosaicBert(Encoder):
    """The encoder of MosaicBERT: ALiBi, GeGLU, low-precision norms, no attention dropout, a padded vocabulary table.

    The defaults are MosaicBERT-Base; Large has `num_layers=24, dim=1024, num_heads=16`. A slot that is None holds
    the paper's part.

    Args:
        vocab_size: Number of token ids; None: taken from the data.
        dim: Width D, a multiple of `num_heads`.
        num_layers: Number of blocks.
        num_heads: Heads of the attention.
        hidden_dim: Hidden width of each half of the default feed-forward; None: 4 * dim.
        positions: Builds the positions from `dim` and `num_heads`; None: `AlibiPositions`.
        feedforward: Builds the feed-forward of a block from `dim`; None: `GatedLinearUnit` of `hidden_dim` with
            `dropout`.
        norm: Builds a norm from `dim`; None: `LowPrecisionLayerNorm`.
        attention: Shared by all blocks; None: `AutoAttention`.
        norm_position: Norm after each residual sum, as in the paper, or before each sub-layer.
        dropout: Probability of dropping embeddings, attention outputs and values of the default feed-forward.
        attention_dropout: Probability of dropping an attention weight; few attention kernels can.
        num_token_types: Kinds of tokens (first and second sentence).
        padding_id: Id whose embedding starts at zero and never learns from a look-up; None: no such id.
        pad_vocab_to: Round the vocabulary table up to a multiple of this (30522 becomes 30528).

    Raises:
        ValueError: As `Encoder`, or `hidden_dim` is given beside a `feedforward` that has its own.
    """

    def __init__(
        self,
        vocab_size: int | None = None,
        *,
        dim: int = 768,
        num_layers: int = 12,
        num_heads: int = 12,
        hidden_dim: int | None = None,
        positions: Callable[[int, int], Positions] | None = None,
        feedforward: Callable[[int], FeedForward] | None = None,
        norm: Callable[[int], nn.Module] | None = None,
        attention: Attention | None = None,
        norm_position: NormPosition = "post",
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        num_token_types: int = 2,
        padding_id: int | None = 0,
        pad_vocab_to: int = 64,
    ) -> None:
        check_one_hidden_dim(hidden_dim, feedforward)
        width = 4 * dim if hidden_dim is None else hidden_dim
        super().__init__(
            vocab_size,
            dim=dim,
            num_layers=num_layers,
            num_heads=num_heads,
            positions=positions or AlibiPositions,
            feedforward=feedforward or partial(GatedLinearUnit, hidden_dim=width, dropout=dropout),
            norm=norm or LowPrecisionLayerNorm,
            attention=attention or AutoAttention(),
            norm_position=norm_position,
            dropout=dropout,
            attention_dropout=attention_dropout,
            num_token_types=num_token_types,
            padding_id=padding_id,
            pad_vocab_to=pad_vocab_to,
        )

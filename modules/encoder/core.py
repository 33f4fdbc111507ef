"""The encoder: a bidirectional transformer over ragged documents, all of its parts in slots.

Letters: T tokens over all documents with the filler behind them, R rows whose hidden state is wanted, B documents, D
    width,
V rows of the vocabulary table.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from modules.checks import check_at_least_one, check_probabilities
from modules.contracts import RouterStats
from modules.layers.attention import Attention
from modules.layers.block import Block, NormPosition
from modules.layers.documents import locate
from modules.layers.embeddings import TokenEmbeddings
from modules.layers.feedforward import FeedForward
from modules.layers.head import MaskedTokenHead
from modules.layers.positions import Positions

_NO_VOCABULARY = "vocab_size of the encoder is not known: give it, or call set_vocabulary(size)"


class Encoder(nn.Module):
    """A bidirectional transformer over ragged documents, with a head that guesses masked tokens.

    Nothing is padded: all layers work on the tokens of all documents laid end to end. The part of the last block
    that works on each token alone, and the head, run on the rows that are asked for.

    Args:
        vocab_size: Number of token ids; None: `set_vocabulary` tells it later.
        dim: Width D, a multiple of `num_heads`.
        num_layers: Number of blocks.
        num_heads: Heads of the attention.
        positions: Builds the positions from `dim` and `num_heads`.
        feedforward: Builds the feed-forward of one block from `dim`.
        norm: Builds a norm from `dim`.
        attention: Shared by all blocks.
        norm_position: Norm after each residual sum ("post") or before each sub-layer ("pre", with one more after the
            last).
        dropout: Probability of dropping embeddings and attention outputs; a feed-forward has its own.
        attention_dropout: Probability of dropping an attention weight.
        num_token_types: Kinds of tokens (first and second sentence).
        padding_id: Id whose embedding starts at zero and never learns from a look-up; None: no such id.
        pad_vocab_to: Round the vocabulary table up to a multiple of this; the extra rows are never labels.

    Raises:
        ValueError: `dim` is no multiple of `num_heads`, a probability lies outside [0, 1), or a count is below one.
    """

    def __init__(
        self,
        vocab_size: int | None = None,
        *,
        dim: int,
        num_layers: int,
        num_heads: int,
        positions: Callable[[int, int], Positions],
        feedforward: Callable[[int], FeedForward],
        norm: Callable[[int], nn.Module],
        attention: Attention,
        norm_position: NormPosition = "post",
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        num_token_types: int = 2,
        padding_id: int | None = 0,
        pad_vocab_to: int = 1,
    ) -> None:
        super().__init__()
        check_at_least_one(dim=dim, num_layers=num_layers, num_heads=num_heads, pad_vocab_to=pad_vocab_to)
        check_probabilities(dropout=dropout, attention_dropout=attention_dropout)
        if dim % num_heads:
            raise ValueError(f"dim={dim} must be a multiple of num_heads={num_heads}")
        self.pad_vocab_to = pad_vocab_to
        self.vocab_size: int | None = None
        self.positions = positions(dim, num_heads)
        self.embeddings = TokenEmbeddings(
            dim, norm=norm, num_token_types=num_token_types, padding_id=padding_id, dropout=dropout
        )
        self.layers = nn.ModuleList(
            Block(
                dim,
                num_heads=num_heads,
                attention=attention,
                feedforward=feedforward,
                norm=norm,
                norm_position=norm_position,
                dropout=dropout,
                attention_dropout=attention_dropout,
            )
            for _ in range(num_layers)
        )
        self.final_norm = norm(dim) if norm_position == "pre" else nn.Identity()
        self.head = MaskedTokenHead(dim, norm=norm)
        if vocab_size is not None:
            self.set_vocabulary(vocab_size)

    @property
    def is_configured(self) -> bool:
        """Whether the size of the vocabulary is known and all weights exist."""
        return self.vocab_size is not None

    @property
    def num_vocab_rows(self) -> int:
        """Rows V of the vocabulary table: `vocab_size` rounded up.

        Raises:
            ValueError: The size is not known yet.
        """
        if self.vocab_size is None:
            raise ValueError(_NO_VOCABULARY)
        return -(-self.vocab_size // self.pad_vocab_to) * self.pad_vocab_to

    def set_vocabulary(self, size: int) -> None:
        """Build the word embeddings and the output bias for `size` token ids; the same size again changes nothing.

        Raises:
            ValueError: Another size is set already, or `size` is below one.
        """
        if self.vocab_size == size:
            return
        if self.vocab_size is not None:
            raise ValueError(
                f"vocab_size={self.vocab_size} of the encoder is not the {size} of the vocabulary: "
                "set it to null to take it from the data"
            )
        check_at_least_one(vocab_size=size)
        self.vocab_size = size
        self.embeddings.set_num_rows(self.num_vocab_rows)
        self.head.set_num_rows(self.num_vocab_rows)

    def reset_parameters(self) -> None:
        """Draw all weights again: matrices and tables from N(0, 0.02), biases and the padding row zero, norms one.

        For a model built on the meta device: `encoder.to_empty(device=...)`, then this.
        """
        for module in self.modules():
            reset = getattr(module, "reset_parameters", None)
            if module is not self and callable(reset):
                reset()

    def forward(
        self,
        input_ids: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
        *,
        token_type_ids: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> tuple[Tensor, list[RouterStats]]:
        """Encode ragged documents.

        Args:
            input_ids: int64[T]; what lies past `cu_seqlens[-1]` is filler.
            cu_seqlens: int32[B+1], where each document starts; documents may be empty.
            max_seqlen: Upper bound of the document lengths.
            token_type_ids: int64[T]; None means zeros.
            rows: int64[R], the tokens whose hidden state is wanted, in any order, with repeats; None means all.

        Returns:
            Hidden states [T, D] or [R, D] (those of filler mean nothing), and the routing of each layer that routes.

        Raises:
            ValueError: The vocabulary is not known, or `max_seqlen` is more than the positions can take.
        """
        longest = self.positions.max_positions
        if longest is not None and max_seqlen > longest:
            raise ValueError(
                f"max_seqlen={max_seqlen} exceeds max_positions={longest} of {type(self.positions).__name__}"
            )
        if not self.is_configured:
            raise ValueError(_NO_VOCABULARY)
        documents = locate(input_ids.shape[0], cu_seqlens, max_seqlen)
        hidden_TD = self.embeddings(input_ids, token_type_ids, self.positions, documents.positions_T)
        routing = []
        for index, layer in enumerate(self.layers):
            is_last = index == len(self.layers) - 1
            hidden_TD, stats = layer(hidden_TD, documents, self.positions, rows if is_last else None)
            if stats is not None:
                routing.append(stats)
        return self.final_norm(hidden_TD), routing

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of all token ids for hidden states [..., D]. Returns [..., V]."""
        assert self.embeddings.word is not None
        return self.head(hidden, self.embeddings.word.weight)


def check_one_hidden_dim(hidden_dim: int | None, feedforward: Callable[[int], FeedForward] | None) -> None:
    """Refuse a hidden width that a given feed-forward would not use.

    Raises:
        ValueError: Both are given.
    """
    if hidden_dim is not None and feedforward is not None:
        raise ValueError(f"hidden_dim={hidden_dim} has no effect beside a feedforward: remove it, or set it there")

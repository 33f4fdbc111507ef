"""Token embeddings of an encoder (arXiv:1810.04805, section 3; arXiv:2312.17482, section 2).

Letters: T tokens over all documents, D width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from modules.layers.linear import Embedding
from modules.layers.positions import Positions


class TokenEmbeddings(nn.Module):
    """`dropout(norm(word + token type + position))`.

    The word table is built by `set_num_rows`, once the vocabulary is known.

    Args:
        dim: Width D of the model.
        norm: Builds a norm from `dim`.
        num_token_types: Kinds of tokens; 0 is the kind of a token whose kind is not given.
        padding_id: Id whose row starts at zero and never learns from a look-up; None: no such id.
        dropout: Probability that a value is dropped.
    """

    def __init__(
        self,
        dim: int,
        *,
        norm: Callable[[int], nn.Module],
        num_token_types: int = 2,
        padding_id: int | None = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.padding_id = padding_id
        self.dropout = dropout
        self.word: Embedding | None
        self.register_module("word", None)
        self.types = Embedding(num_token_types, dim)
        self.norm = norm(dim)

    def set_num_rows(self, num_rows: int) -> None:
        """Build the word table, where the other tables are."""
        like = self.types.weight
        self.word = Embedding(
            num_rows, like.shape[1], padding_idx=self.padding_id, device=like.device, dtype=like.dtype
        )

    def forward(
        self, input_ids: Tensor, token_type_ids: Tensor | None, positions: Positions, positions_T: Tensor
    ) -> Tensor:
        """Look up int64[T] ids and their kinds (None: all of kind 0). Returns hidden_TD."""
        assert self.word is not None
        types_TD = self.types.weight[0] if token_type_ids is None else self.types(token_type_ids)
        hidden_TD = positions.embed(self.word(input_ids) + types_TD, positions_T)
        return F.dropout(self.norm(hidden_TD), self.dropout, self.training)

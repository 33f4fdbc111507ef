"""The head that guesses masked tokens (arXiv:1810.04805, section 3.1).

Letters: R rows, D width, V rows of the vocabulary table.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from modules.layers.linear import Linear


class MaskedTokenHead(nn.Module):
    """`norm(gelu(dense(x))) W_word^T + bias`: its output matrix is the table of the word embeddings.

    The bias is built by `set_num_rows`, once the vocabulary is known.

    Args:
        dim: Width D of the model.
        norm: Builds a norm from `dim`.
    """

    def __init__(self, dim: int, *, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.dense = Linear(dim, dim)
        self.norm = norm(dim)
        self.bias: nn.Parameter | None
        self.register_parameter("bias", None)

    def set_num_rows(self, num_rows: int) -> None:
        """Build the bias, where the other weights are."""
        self.bias = nn.Parameter(self.dense.weight.new_zeros(num_rows))

    def reset_parameters(self) -> None:
        """Clear the bias; the other weights belong to the parts, which reset themselves."""
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, hidden_RD: Tensor, word_VD: Tensor) -> Tensor:
        """Returns logits_RV; `word_VD` is the embedding table."""
        transformed_RD = self.norm(F.gelu(self.dense(hidden_RD)))
        return F.linear(transformed_RD, word_VD, self.bias)

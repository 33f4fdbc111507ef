"""A transformer neural process, after TNP-D (arXiv:2207.04179): no Gaussian process, no adaptation, one forward pass.

With `HistogramHead` it is a prior-data fitted network (arXiv:2112.10510).

Letters: B tasks, N support points, Q query points, C = 1 + N context tokens, T = C + Q tokens, X input width, Y target
width, D width of the model, H heads, E = D / H.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from modules.checks import check_at_least_one
from modules.contracts import FewShotLearner, FewShotTasks, Predictive

from .heads import HeadBuilder, MixtureHead
from .networks import MultilayerPerceptron


class NeuralProcess(FewShotLearner):
    """A transformer that reads labelled support points and says what it expects at each query.

    All tokens attend to the support alone. So the order of the support does not matter, queries neither see nor
    influence each other, and no attention is quadratic in their number. One learned token stands in the context of
    every task, which gives a task without support something to attend to; a flag beside the label (zero for queries)
    tells a query from a point labelled zero.

    Args:
        input_dim: X.
        output_dim: Y.
        dim: D.
        num_layers: Attention blocks.
        num_heads: H, divides D.
        hidden_dim: Width of the feed-forward layers.
        embedding_depth: Linear layers that make a token of a point.
        head: Builds the head from D and Y; None: `MixtureHead`.

    Raises:
        ValueError: A count is below 1, or the heads do not divide the width.
    """

    def __init__(
        self,
        input_dim: int = 1,
        output_dim: int = 1,
        *,
        dim: int = 64,
        num_layers: int = 6,
        num_heads: int = 4,
        hidden_dim: int = 128,
        embedding_depth: int = 4,
        head: HeadBuilder | None = None,
    ) -> None:
        super().__init__(input_dim, output_dim)
        check_at_least_one(
            dim=dim, num_layers=num_layers, num_heads=num_heads, hidden_dim=hidden_dim, embedding_depth=embedding_depth
        )
        if dim % num_heads:
            raise ValueError(f"num_heads={num_heads} must divide dim={dim}")
        hidden_dims = [dim] * (embedding_depth - 1)
        self.embedding = MultilayerPerceptron(input_dim + output_dim + 1, dim, hidden_dims=hidden_dims)
        self.always_D = nn.Parameter(0.02 * torch.randn(dim))
        self.blocks = nn.ModuleList(ContextBlock(dim, num_heads, hidden_dim) for _ in range(num_layers))
        self.norm = nn.LayerNorm(dim)
        self.head = (head or MixtureHead)(dim, output_dim)

    def loss(self, tasks: FewShotTasks, generator: Generator | None = None) -> Tensor:
        """Minus the log density of the query targets given the support."""
        predictive = self.predict(tasks.support_x, tasks.support_y, tasks.support_mask, tasks.query_x)
        nats_BQ = -predictive.log_prob(tasks.query_y).value
        nats_B = torch.where(tasks.query_mask, nats_BQ, 0.0).sum(dim=1)
        return (nats_B / tasks.query_mask.sum(dim=1).clamp(min=1)).mean()

    def predict(
        self,
        support_x: Tensor,
        support_y: Tensor,
        support_mask: Tensor,
        query_x: Tensor,
        *,
        num_samples: int = 1000,
        generator: Generator | None = None,
    ) -> Predictive:
        """A closed form: nothing is random here."""
        num_context = 1 + support_x.shape[1]
        tokens_BTD = self._tokens(support_x, support_y, query_x)
        mask_BC = F.pad(support_mask, (1, 0), value=True)
        for block in self.blocks:
            tokens_BTD = block(tokens_BTD, mask_BC)
        return self.head(self.norm(tokens_BTD[:, num_context:]))

    def _tokens(self, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        """Embedded: the learned token, the support, the queries."""
        support = torch.cat([support_x, support_y, torch.zeros_like(support_x[..., :1])], dim=-1)
        query_y = query_x.new_zeros(*query_x.shape[:2], self.output_dim)
        query = torch.cat([query_x, query_y, torch.ones_like(query_x[..., :1])], dim=-1)
        points_BTD = self.embedding(torch.cat([support, query], dim=1))
        return torch.cat([self.always_D.expand(len(points_BTD), 1, -1), points_BTD], dim=1)


class ContextBlock(nn.Module):
    """Attention of all tokens to the first C of them, then a feed-forward layer; both normalise their input.

    Args:
        dim: D.
        num_heads: H.
        hidden_dim: Width of the feed-forward layer.
    """

    def __init__(self, dim: int, num_heads: int, hidden_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)
        self.feed_forward_norm = nn.LayerNorm(dim)
        self.feed_forward = MultilayerPerceptron(dim, dim, hidden_dims=(hidden_dim,))

    def forward(self, tokens_BTD: Tensor, mask_BC: Tensor) -> Tensor:
        """New tokens.

        Args:
            tokens_BTD: The context first.
            mask_BC: bool, which context tokens are real: at least one in each task.
        """
        tokens_BTD = tokens_BTD + self._attend(self.attention_norm(tokens_BTD), mask_BC)
        return tokens_BTD + self.feed_forward(self.feed_forward_norm(tokens_BTD))

    def _attend(self, tokens_BTD: Tensor, mask_BC: Tensor) -> Tensor:
        q_BTD = self.query(tokens_BTD)
        k_BCD, v_BCD = self.key_value(tokens_BTD[:, : mask_BC.shape[1]]).chunk(2, dim=-1)
        q, k, v = (x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for x in (q_BTD, k_BCD, v_BCD))
        attended_BHTE = F.scaled_dot_product_attention(q, k, v, attn_mask=mask_BC[:, None, None, :])
        return self.out(attended_BHTE.transpose(1, 2).flatten(2))

"""Parameters of a causal transformer by its shape, dense or a mixture of experts, and its FLOPs in serving.

    from modules.flops import LanguageModelShape, train_flops_llm_foundry

Counted as in sparse upcycling (arXiv:2411.08968): gated feed-forward, no biases, RMS norms, untied embeddings. Letters:
V vocabulary, d width, f hidden width, L layers, E experts, K experts that one token chooses.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LanguageModelShape:
    """What decides how many parameters there are, and how many of them one token meets.

    Attributes:
        num_vocab_rows: V, padding included.
        dim: d, width of the model; its heads fill it.
        hidden_dim: f, hidden width of the feed-forward, of one expert in a mixture.
        num_layers: L.
        num_kv_heads: Heads of keys and values; fewer than those of queries share them.
        head_dim: Channels per head.
        num_experts: E in every layer; None for a dense model, which has no router.
        num_experts_per_token: K.

    Raises:
        ValueError: A token chooses more experts than there are, or none.
    """

    num_vocab_rows: int
    dim: int
    hidden_dim: int
    num_layers: int
    num_kv_heads: int
    head_dim: int
    num_experts: int | None = None
    num_experts_per_token: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.num_experts_per_token <= (self.num_experts or 1):
            raise ValueError(
                f"num_experts_per_token={self.num_experts_per_token} must lie between 1 and "
                f"num_experts={self.num_experts} (1 in a dense model)"
            )

    @property
    def parameters_total(self) -> int:
        """2 V d + L (attn + E glu + E d) + norms: everything that must be kept in memory."""
        return 2 * self.num_vocab_rows * self.dim + self._layers(self.num_experts or 1)

    @property
    def parameters_active(self) -> int:
        """V d + L (attn + K glu + E d) + norms: what one token meets; a look-up in the input table is no arithmetic."""
        return self.num_vocab_rows * self.dim + self._layers(self.num_experts_per_token)

    def _layers(self, num_feedforwards: int) -> int:
        """All layers and norms with that many feed-forwards counted."""
        attention = 2 * self.dim**2 + 2 * self.dim * self.num_kv_heads * self.head_dim
        feedforward, router = 3 * self.dim * self.hidden_dim, (self.num_experts or 0) * self.dim
        norms = (2 * self.num_layers + 1) * self.dim
        return self.num_layers * (attention + num_feedforwards * feedforward + router) + norms


def inference_flops(num_parameters_active: int, *, num_layers: int, dim: int, context_len: float) -> float:
    """2 N_active + 4 L d T: FLOPs of a forward pass for one token, read or generated.

    Args:
        num_parameters_active: Parameters that one token meets.
        num_layers: L.
        dim: d, width of the attention, all heads of queries together.
        context_len: T, tokens that the token attends to: t for the t-th generated, (p + 1) / 2 on average in reading a
            prompt of p tokens causally. Zero gives the 2 N of arXiv:2401.00448.
    """
    return 2.0 * num_parameters_active + 4.0 * num_layers * dim * context_len

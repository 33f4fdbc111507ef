"""The usual formulas for the training FLOPs of a transformer, per token; they differ in what they leave out.

One multiplication and one addition are two FLOPs; a backward pass costs twice its forward pass.
"""


def train_flops_6n(num_parameters: int) -> float:
    """6 N (arXiv:2001.08361, section 2.1): matrix products with weights alone.

    Args:
        num_parameters: N; Kaplan et al. leave the embeddings out, Hoffmann et al. (arXiv:2203.15556) count them.
    """
    return 6.0 * num_parameters


def train_flops_palm(num_parameters: int, *, num_layers: int, num_heads: int, head_dim: int, seqlen: int) -> float:
    """6 N + 12 L H Q T (PaLM, arXiv:2204.02311, appendix B): with both products of the attention, nothing masked.

    Args:
        num_parameters: N.
        num_layers: L.
        num_heads: H.
        head_dim: Q, channels per head.
        seqlen: T, tokens that each token attends to.
    """
    return train_flops_6n(num_parameters) + 12.0 * num_layers * num_heads * head_dim * seqlen


def train_flops_llm_foundry(num_parameters_active: int, *, num_layers: int, dim: int, seqlen: int) -> float:
    """3 (2 N_active + 4 L d s), as llm-foundry counts a batch and sparse upcycling matches budgets (arXiv:2411.08968).

    Args:
        num_parameters_active: Parameters that one token meets: chosen experts, router, output projection, but no input
            embedding table.
        num_layers: L.
        dim: d, width of the model.
        seqlen: s, sequence length, attended to in full even where the attention is causal.
    """
    return 3.0 * (2.0 * num_parameters_active + 4.0 * num_layers * dim * seqlen)

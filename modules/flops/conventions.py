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


def train_flops_frozen(num_parameters: int, num_trainable: int) -> float:
    """4 N + 2 N_trainable: 6 N without the weight gradients of frozen parts, as in fine-tuning a head or adapters.

    The forward pass costs 2 N, the gradients of the activations 2 N, those of the weights 2 N_trainable. An upper
    bound: below the lowest trainable weight no gradient flows at all, and the 2 N there are saved as well.

    Args:
        num_parameters: N, frozen ones and adapters included.
        num_trainable: Those among them that receive gradients.

    Raises:
        ValueError: More are trainable than there are.
    """
    if not 0 <= num_trainable <= num_parameters:
        raise ValueError(f"num_trainable={num_trainable} must lie between 0 and num_parameters={num_parameters}")
    return 4.0 * num_parameters + 2.0 * num_trainable

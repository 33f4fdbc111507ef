"""FLOPs of an encoder per token, by its definition: what a trick saves (or padding wastes) changes nothing here.

One multiplication and one addition are two FLOPs. Norms, activations, biases and look-ups are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from modules.contracts import CostProfile
from modules.encoder import Encoder
from modules.flops.counted import count_parameters


@dataclass(frozen=True)
class EncoderFlops:
    """FLOPs of a forward pass per token, and what frozen weights save in the backward pass.

    Attributes:
        linear: Linear maps of all layers.
        attention: Both products of the attention of all layers.
        head: Head of the masked language model, spread over all tokens.
        frozen: Weight gradients that are not computed, as those weights are frozen.
    """

    linear: float
    attention: float
    head: float
    frozen: float = 0.0

    @property
    def forward(self) -> float:
        """All of a forward pass."""
        return self.linear + self.attention + self.head

    @property
    def train(self) -> float:
        """Forward and backward pass, the latter twice the former less the weight gradients of frozen parts.

        An upper bound where the lowest layers are frozen down to the embeddings: gradients then do not flow that far.
        """
        return 3 * self.forward - self.frozen


def encoder_flops(
    *,
    num_layers: int,
    dim: int,
    hidden_dim: int,
    gated: bool,
    num_vocab_rows: int,
    seqlen: float,
    head_fraction: float,
) -> EncoderFlops:
    """FLOPs of an encoder given by numbers.

    Args:
        num_layers: Blocks.
        dim: Width of the model.
        hidden_dim: Hidden width of the feed-forward; of each half if it is gated.
        gated: Whether the feed-forward is a gated linear unit.
        num_vocab_rows: Width of the output projection.
        seqlen: Tokens that each token attends to, on average.
        head_fraction: Share of the tokens whose logits the loss needs.
    """
    weights_per_layer = 4 * dim**2 + (3 if gated else 2) * dim * hidden_dim
    return _encoder_flops(num_layers, num_layers * weights_per_layer, dim, num_vocab_rows, seqlen, head_fraction)


def flops_of_encoder(encoder: Encoder, *, seqlen: float, head_fraction: float) -> EncoderFlops:
    """FLOPs of an encoder with any parts in its slots, from the shapes of its weights and which of them are frozen.

    Args:
        encoder: The encoder, its vocabulary set.
        seqlen: Tokens that each token attends to, on average.
        head_fraction: Share of the tokens whose logits the loss needs.

    Raises:
        ValueError: The vocabulary is not set, or a layer holds weights that are no matrices.
    """
    for name, weight in encoder.layers.named_parameters():
        if weight.ndim > 2:
            raise ValueError(f"layers.{name} is {weight.ndim}-dimensional: how much of it a token meets is not known")
    weights = [weight for weight in encoder.layers.parameters() if weight.ndim == 2]
    num_weights, dim = sum(weight.numel() for weight in weights), encoder.head.dense.in_features
    flops = _encoder_flops(len(encoder.layers), num_weights, dim, encoder.num_vocab_rows, seqlen, head_fraction)
    assert encoder.embeddings.word is not None
    head = [encoder.head.dense.weight, encoder.embeddings.word.weight]
    frozen, frozen_head = (sum(w.numel() for w in part if not w.requires_grad) for part in (weights, head))
    return replace(flops, frozen=2.0 * (frozen + head_fraction * frozen_head))


def encoder_cost_profile(encoder: Encoder, *, seqlen: float, head_fraction: float) -> CostProfile:
    """What the meter and the cost report need to know of an encoder. Arguments and errors as `flops_of_encoder`."""
    flops = flops_of_encoder(encoder, seqlen=seqlen, head_fraction=head_fraction)
    counts = count_parameters(encoder)
    looked_up = [p for m in encoder.modules() if isinstance(m, nn.Embedding) for p in m.parameters()]
    assert encoder.embeddings.word is not None
    # The word table is counted: it is the matrix of the output projection.
    active = counts.total - sum(p.numel() for p in looked_up if p is not encoder.embeddings.word.weight)
    return CostProfile(
        unit="token",
        parameters_total=counts.total,
        parameters_active=active,
        parameters_trainable=counts.trainable,
        train_flops=flops.train,
        prefill_flops=flops.forward,
        decode_flops=flops.forward,
        decode_weight_bytes=active * encoder.embeddings.word.weight.element_size(),
        law_use="indicative",
        law_note="they were fitted on causal language models; a masked one learns from a part of its tokens only",
    )


def _encoder_flops(
    num_layers: int, num_weights: int, dim: int, num_vocab_rows: int, seqlen: float, head_fraction: float
) -> EncoderFlops:
    return EncoderFlops(
        linear=2.0 * num_weights,
        attention=4.0 * num_layers * dim * seqlen,
        head=2.0 * head_fraction * (dim**2 + dim * num_vocab_rows),
    )

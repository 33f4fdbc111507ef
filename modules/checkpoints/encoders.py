"""Encoders in and out of Hugging Face folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from modules.checkpoints.files import load_weights, save_folder
from modules.checkpoints.layouts import BERT, MOSAICBERT, Layout, layout_of
from modules.encoder import Encoder
from modules.layers import AlibiPositions, Block, GatedLinearUnit, LayerNorm, LearnedPositions, Mlp

_PREFIX = "encoder."  # under which the recipes keep their encoder


def load_encoder_weights(encoder: Encoder, path: str | Path, *, with_head: bool = True) -> None:
    """Fill an encoder from a Hugging Face folder or file (BERT or MosaicBERT layout), or from a checkpoint of a recipe.

    Args:
        encoder: Its vocabulary must be known.
        path: What `load_weights` reads.
        with_head: The head of masked tokens is wanted too; without it the head keeps the weights it has.

    Raises:
        ValueError: A tensor is missing, not known, or of another shape; the first few are named.
    """
    state = load_weights(path)
    if any(name.startswith(f"{_PREFIX}layers.") for name in state):
        state = {name[len(_PREFIX) :]: tensor for name, tensor in state.items() if name.startswith(_PREFIX)}
    else:
        state = _named(path, layout_of(state), state)
    if not with_head:
        own = encoder.state_dict()
        state = {name: tensor for name, tensor in state.items() if not name.startswith("head.")}
        state |= {name: tensor for name, tensor in own.items() if name.startswith("head.")}
    _check(path, encoder.state_dict(), state)
    encoder.load_state_dict(state)


def save_encoder(encoder: Encoder, folder: str | Path) -> None:
    """Write an encoder as a new Hugging Face folder: `model.safetensors` and `config.json`.

    With BERT's parts it is a `BertForMaskedLM` that plain transformers loads. With MosaicBERT's parts it has the
    tensor names and shapes of mosaicml/mosaic-bert-base and `model_type: mosaicbert`, a type that transformers does
    not have, so that it is never taken for a BERT with other weights.

    Raises:
        ValueError: Neither layout can describe the parts of this encoder, or the folder exists.
    """
    layout = _layout_for(encoder)
    save_folder(folder, layout.to_huggingface(encoder.state_dict()), _config(encoder, layout))


def _named(path: str | Path, layout: Layout, state: dict[str, Tensor]) -> dict[str, Tensor]:
    try:
        return layout.from_huggingface(state)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _check(path: str | Path, wanted: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    faults = [f"{name} is missing" for name in wanted if name not in found]
    faults += [f"{name} is unknown to the encoder" for name in found if name not in wanted]
    faults += [
        f"{name} has shape {tuple(found[name].shape)}, the encoder {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in found and found[name].shape != tensor.shape
    ]
    if faults:
        more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
        raise ValueError(f"{path} does not fit the encoder: {'; '.join(faults[:3])}{more}")


def _layout_for(encoder: Encoder) -> Layout:
    block, positions = cast(Block, encoder.layers[0]), encoder.positions
    feedforward = block.feedforward
    if not block.pre_norm and isinstance(block.attention_norm, LayerNorm):
        if isinstance(positions, LearnedPositions) and _is_mlp(feedforward):
            return BERT
        if isinstance(positions, AlibiPositions) and _is_gated(feedforward):
            return MOSAICBERT
    parts = f"{type(positions).__name__}, {type(feedforward).__name__}"
    raise ValueError(
        f"no Hugging Face layout for an encoder with {parts}: only the parts of BERT and MosaicBERT have one"
    )


def _is_mlp(feedforward: nn.Module) -> bool:
    return (
        isinstance(feedforward, Mlp) and feedforward.input.bias is not None and _is_exact_gelu(feedforward.activation)
    )


def _is_gated(feedforward: nn.Module) -> bool:
    if not isinstance(feedforward, GatedLinearUnit) or not _is_exact_gelu(feedforward.activation):
        return False
    return feedforward.gate_up.bias is None and feedforward.output.bias is not None


def _is_exact_gelu(activation: nn.Module) -> bool:
    return isinstance(activation, nn.GELU) and activation.approximate == "none"


def _config(encoder: Encoder, layout: Layout) -> dict[str, Any]:
    block = cast(Block, encoder.layers[0])
    num_token_types, dim = encoder.embeddings.types.weight.shape
    config = {
        "model_type": layout.name,
        "vocab_size": encoder.num_vocab_rows,
        "hidden_size": dim,
        "num_hidden_layers": len(encoder.layers),
        "num_attention_heads": block.num_heads,
        "intermediate_size": cast(nn.Linear, block.feedforward.output).in_features,
        "hidden_act": "gelu",
        "hidden_dropout_prob": block.dropout,
        "attention_probs_dropout_prob": block.attention_dropout,
        "layer_norm_eps": cast(LayerNorm, block.attention_norm).eps,
        "type_vocab_size": num_token_types,
        "pad_token_id": encoder.embeddings.padding_id,
        "tie_word_embeddings": True,
    }
    if layout is BERT:
        config |= {"architectures": ["BertForMaskedLM"], "max_position_embeddings": encoder.positions.max_positions}
    return config

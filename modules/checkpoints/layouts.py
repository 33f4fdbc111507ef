"""Names of an encoder's tensors in Hugging Face checkpoints, as pure functions over state dicts.

Two layouts are known. `BERT` is that of `BertForMaskedLM` in transformers, with query, key and value apart.
`MOSAICBERT` is that of the released mosaicml/mosaic-bert-base: one Wqkv and one gated input projection, the gate in
its first half.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

State = dict[str, Tensor]

_LAYER = "bert.encoder.layer.#."
_WORD_TABLE = "bert.embeddings.word_embeddings.weight"
_DECODER = "cls.predictions.decoder.weight"

# Ours on the left, theirs on the right; "#" is the number of a layer, and what follows the name (weight, bias) stays.
_SHARED_NAMES = {
    "embeddings.word": "bert.embeddings.word_embeddings",
    "embeddings.types": "bert.embeddings.token_type_embeddings",
    "embeddings.norm": "bert.embeddings.LayerNorm",
    "layers.#.attention_output": _LAYER + "attention.output.dense",
    "layers.#.attention_norm": _LAYER + "attention.output.LayerNorm",
    "head.dense": "cls.predictions.transform.dense",
    "head.norm": "cls.predictions.transform.LayerNorm",
}


@dataclass(frozen=True)
class Layout:
    """A way to name the tensors of an encoder.

    Attributes:
        name: What the layout is called, and the `model_type` of its config.json.
        names: Our module names (with "#" for the layer) and theirs.
        splits_qkv: Query, key and value are three tensors.
        marker: A name that only this layout has.
    """

    name: str
    names: dict[str, str]
    splits_qkv: bool
    marker: str

    def to_huggingface(self, state: State) -> State:
        """Our state dict under their names. The output matrix, which is the word table, is left out.

        Raises:
            ValueError: A tensor has no name in this layout.
        """
        renamed = _rename(state, self.names, self.name)
        return _split_qkv(renamed) if self.splits_qkv else renamed

    def from_huggingface(self, state: State) -> State:
        """Their state dict under our names, without what a masked language model does not use (pooler, NSP head).

        Raises:
            ValueError: A tensor has no name in this layout, or the output matrix is not the word table.
        """
        state = _canonical(state)
        state = _join_qkv(state) if self.splits_qkv else state
        return _rename(state, {theirs: ours for ours, theirs in self.names.items()}, self.name)


BERT = Layout(
    name="bert",
    names=_SHARED_NAMES
    | {
        "positions.table": "bert.embeddings.position_embeddings",
        "layers.#.qkv": _LAYER + "attention.self.qkv",
        "layers.#.feedforward.input": _LAYER + "intermediate.dense",
        "layers.#.feedforward.output": _LAYER + "output.dense",
        "layers.#.feedforward_norm": _LAYER + "output.LayerNorm",
        "head.bias": "cls.predictions.bias",
    },
    splits_qkv=True,
    marker="attention.self.query.weight",
)

MOSAICBERT = Layout(
    name="mosaicbert",
    names=_SHARED_NAMES
    | {
        "layers.#.qkv": _LAYER + "attention.self.Wqkv",
        "layers.#.feedforward.gate_up": _LAYER + "mlp.gated_layers",
        "layers.#.feedforward.output": _LAYER + "mlp.wo",
        "layers.#.feedforward_norm": _LAYER + "mlp.layernorm",
        "head.bias": "cls.predictions.decoder.bias",
    },
    splits_qkv=False,
    marker="attention.self.Wqkv.weight",
)


def layout_of(names: Iterable[str]) -> Layout:
    """The layout of a Hugging Face state dict.

    Raises:
        ValueError: It is neither.
    """
    names = list(names)
    for layout in (BERT, MOSAICBERT):
        if any(name.endswith(layout.marker) for name in names):
            return layout
    raise ValueError(f"no BERT or MosaicBERT weights among {len(names)} tensors ({_some(names)})")


def _rename(state: State, table: dict[str, str], layout: str) -> State:
    renamed, unknown = {}, []
    for name, tensor in state.items():
        number = re.search(r"\.(\d+)\.", name)
        pattern = name.replace(number[0], ".#.", 1) if number else name
        old = next((old for old in table if pattern == old or pattern.startswith(old + ".")), None)
        if old is None:
            unknown.append(name)
            continue
        new = table[old] + pattern[len(old) :]
        renamed[new.replace("#", number[1]) if number else new] = tensor
    if unknown:
        raise ValueError(f"{len(unknown)} tensors have no name in the {layout} layout ({_some(unknown)})")
    return renamed


def _canonical(state: State) -> State:
    """Their names as one version writes them: prefixed, without duplicates and parts that nothing here uses."""
    if not any(name.startswith(("bert.", "cls.")) for name in state):  # a bare BertModel
        state = {f"bert.{name}": tensor for name, tensor in state.items()}
    state = {re.sub(r"LayerNorm\.(gamma|beta)$", _old_norm, name): tensor for name, tensor in state.items()}
    decoder = state.pop(_DECODER, None)
    if decoder is not None and not torch.equal(decoder, state[_WORD_TABLE]):
        raise ValueError(f"{_DECODER} is not {_WORD_TABLE}: an untied output matrix has no place in these encoders")
    return {name: tensor for name, tensor in state.items() if not _is_unused(name, state)}


def _old_norm(match: re.Match[str]) -> str:
    return "LayerNorm." + {"gamma": "weight", "beta": "bias"}[match[1]]


def _is_unused(name: str, state: State) -> bool:
    same_bias = name == "cls.predictions.decoder.bias" and "cls.predictions.bias" in state
    return same_bias or name.endswith("position_ids") or name.startswith(("bert.pooler.", "cls.seq_relationship."))


def _split_qkv(state: State) -> State:
    split = {}
    for name, tensor in state.items():
        if ".attention.self.qkv." not in name:
            split[name] = tensor
            continue
        for part, chunk in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
            split[name.replace(".qkv.", f".{part}.")] = chunk
    return split


def _join_qkv(state: State) -> State:
    joined = {}
    for name, tensor in state.items():
        if ".attention.self.query." in name:
            parts = [state[name.replace(".query.", f".{part}.")] for part in ("query", "key", "value")]
            joined[name.replace(".query.", ".qkv.")] = torch.cat(parts)
        elif ".attention.self.key." not in name and ".attention.self.value." not in name:
            joined[name] = tensor
    return joined


def _some(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")

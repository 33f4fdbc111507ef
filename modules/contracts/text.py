"""Text as it travels from a DataModule to a model: ragged documents, laid end to end, with no padding between them.

Letters: T tokens in a batch over all documents (a bucket size), B documents, S longest document, R rows whose logits
    are wanted.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

IGNORE = -100
"""The label of a token that no loss counts."""


@dataclass
class RaggedText:
    """A micro-batch of documents that never see each other.

    `T` is rounded up to one of a few bucket sizes, so that compiled code sees few shapes: what lies past
    `cu_seqlens[-1]` is filler that no document sees and no loss counts. A document may be empty (a batch with fewer
    documents than usual).

    Attributes:
        input_ids: int64[T].
        cu_seqlens: int32[B+1], where each document starts; the last entry is the number of real tokens.
        max_seqlen: Upper bound of the document lengths, the same for all batches of a bucket.
        num_tokens: Real tokens, `cu_seqlens[-1]` as an int, so that nobody has to wait for the device to know it.
        labels: int64[T], already shifted for causal LMs, `IGNORE` where no loss counts.
        rows: int64[R], the positions whose label counts, filled up to a budget with positions whose label is `IGNORE`.
        token_type_ids: int64[T]; missing means zeros.
        targets: [B] class or value of each document.
        documents: int64[B], the number of each document in its corpus, -1 for an empty one.
    """

    input_ids: Tensor
    cu_seqlens: Tensor
    max_seqlen: int
    num_tokens: int
    labels: Tensor | None = None
    rows: Tensor | None = None
    token_type_ids: Tensor | None = None
    targets: Tensor | None = None
    documents: Tensor | None = None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> RaggedText:
        """The same batch on another device (Lightning calls this)."""
        return replace(self, **{k: v.to(device, non_blocking=non_blocking) for k, v in self._tensors().items()})

    def pin_memory(self) -> RaggedText:
        """The same batch in page-locked memory (the DataLoader calls this)."""
        return replace(self, **{k: v.pin_memory() for k, v in self._tensors().items()})

    def _tensors(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}


@dataclass(frozen=True)
class Vocabulary:
    """What a model must know of a tokenizer and its corpus.

    Attributes:
        size: Number of token ids.
        special_ids: Id of each special token by its role: "pad", "unk", "cls", "sep", "mask"; only those the tokenizer
            has.
        tokenizer_hash: SHA-256 of the tokenizer's canonical JSON, hexadecimal.
        unigram_entropy: Entropy of the corpus' token frequencies in nats: the loss of a model that ignores its context.
    """

    size: int
    special_ids: dict[str, int]
    tokenizer_hash: str
    unigram_entropy: float

"""Token ids as ragged batches: documents truncated as Hugging Face does it, laid end to end, filled up to a bucket.

Letters: N documents that are not empty, B document slots, T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from modules.contracts import RaggedText

from .packing import NUM_ENDS


class Tokens(Protocol):
    """Documents without special tokens, laid end to end: a `TokenStore`, or texts tokenized on the spot."""

    @property
    def tokens(self) -> np.ndarray:
        """Token ids of all documents."""

    @property
    def offsets(self) -> np.ndarray:
        """Where each document starts, one more than documents."""


@dataclass(frozen=True)
class Ends:
    """Ids of the tokens around documents and after all of them."""

    cls_id: int
    sep_id: int
    pad_id: int


def gather_documents(
    source: Tokens, numbers_N: np.ndarray, max_seqlen: int, ends: Ends
) -> tuple[np.ndarray, np.ndarray]:
    """Documents as `[CLS] first max_seqlen - 2 tokens [SEP]`: `tokenizer(text)[:max_seqlen]` by HF's truncation.

    Args:
        source: Where the tokens are.
        numbers_N: Numbers of the documents.
        max_seqlen: Longest document, its two ends counted.
        ends: Special ids.

    Returns:
        ids int64[T] without filler, and bounds int64[N+1], where each document starts.
    """
    starts_N = source.offsets[numbers_N].astype(np.int64)
    full_N = source.offsets[numbers_N + 1].astype(np.int64) - starts_N
    lengths_N = np.minimum(full_N, max_seqlen - NUM_ENDS) + NUM_ENDS
    bounds = np.concatenate([[0], np.cumsum(lengths_N)])
    # the ends read a neighbouring token (or the first or last of all) that is overwritten below
    places_T = np.repeat(starts_N - 1 - bounds[:-1], lengths_N) + np.arange(bounds[-1])
    ids_T = source.tokens.take(places_T, mode="clip").astype(np.int64)
    ids_T[bounds[:-1]] = ends.cls_id
    ids_T[bounds[1:] - 1] = ends.sep_id
    return ids_T, bounds


def places_in_document(bounds: np.ndarray) -> np.ndarray:
    """Place of each token inside its document, int64[T], 0 for [CLS]."""
    return np.arange(bounds[-1]) - np.repeat(bounds[:-1], np.diff(bounds))


def ragged_text(
    ids_T: np.ndarray,
    bounds: np.ndarray,
    numbers_N: np.ndarray,
    *,
    num_tokens: int,
    num_slots: int,
    max_seqlen: int,
    pad_id: int,
) -> RaggedText:
    """A batch without labels.

    Args:
        ids_T: Token ids without filler.
        bounds: int64[N+1], where each document starts.
        numbers_N: Number of each document in its corpus.
        num_tokens: T with filler.
        num_slots: B; slots past the documents are empty.
        max_seqlen: Upper bound of the document lengths.
        pad_id: Id of the filler.
    """
    cu_seqlens = np.full(num_slots + 1, bounds[-1], dtype=np.int32)
    cu_seqlens[: len(bounds)] = bounds
    return RaggedText(
        input_ids=filled(ids_T, num_tokens, pad_id),
        cu_seqlens=torch.from_numpy(cu_seqlens),
        max_seqlen=max_seqlen,
        num_tokens=int(bounds[-1]),
        documents=filled(numbers_N, num_slots, -1),
    )


def filled(values: np.ndarray, size: int, fill: int) -> Tensor:
    """Values as an int64 tensor of `size` entries, `fill` past their end."""
    tensor = torch.full((size,), fill, dtype=torch.int64)
    tensor[: len(values)] = torch.from_numpy(values)
    return tensor

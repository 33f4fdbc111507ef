"""What one training example is: a document, or several that fit into one sequence together (packing)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .split import Split
from .store import TokenStore

NUM_ENDS = 2
"""Special tokens around each document: [CLS] and [SEP]."""

MIN_TOKENS_PER_DOCUMENT = 8
"""A packed example holds at most max_seqlen / 8 documents, so that `cu_seqlens` has a bounded length."""

BLOCK_DOCUMENTS = 2**20
"""Packing starts anew after so many documents, so that its work space stays small."""


@dataclass(frozen=True)
class SingleDocuments:
    """One document an example.

    Attributes:
        split: The documents.
    """

    split: Split

    max_documents = 1

    def __len__(self) -> int:
        return len(self.split)

    def documents(self, examples: np.ndarray) -> list[np.ndarray]:
        """Places in the split of the documents of each example, int64[1] each."""
        return list(examples.reshape(-1, 1))


class PackedDocuments:
    """As many neighbouring documents an example as fit into `max_seqlen` tokens, in the order of the corpus.

    Which documents share an example never changes, so that the order of the examples is a function of seed and
    position.

    Args:
        store: The tokens.
        split: The documents.
        max_seqlen: Tokens of an example, the ends of each document counted.
    """

    def __init__(self, store: TokenStore, split: Split, max_seqlen: int) -> None:
        self.max_documents = max(1, max_seqlen // MIN_TOKENS_PER_DOCUMENT)
        starts = [
            self._pack(store, split, first, min(first + BLOCK_DOCUMENTS, len(split)), max_seqlen)
            for first in range(0, len(split), BLOCK_DOCUMENTS)
        ]
        self._bounds = np.concatenate([*starts, np.array([len(split)])])

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def documents(self, examples: np.ndarray) -> list[np.ndarray]:
        """Places in the split of the documents of each example, at most `max_documents` each."""
        return [np.arange(self._bounds[example], self._bounds[example + 1]) for example in examples]

    def _pack(self, store: TokenStore, split: Split, first: int, stop: int, max_seqlen: int) -> np.ndarray:
        """Places in [first, stop) where an example starts, filled greedily."""
        numbers = split.numbers(np.arange(first, stop))
        lengths = (store.offsets[numbers + 1] - store.offsets[numbers]).astype(np.int64) + NUM_ENDS
        ends = np.concatenate([[0], np.cumsum(np.minimum(lengths, max_seqlen))])
        fitting = np.searchsorted(ends, ends[:-1] + max_seqlen, side="right") - 1
        following = np.minimum(fitting, np.arange(len(numbers)) + self.max_documents).tolist()
        starts = []
        place = 0
        while place < len(numbers):
            starts.append(place)
            place = following[place]
        return np.array(starts, dtype=np.int64) + first


Examples = SingleDocuments | PackedDocuments

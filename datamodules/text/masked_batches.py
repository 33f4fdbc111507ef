"""From documents to masked micro-batches, as a pure function of their numbers.

Letters: N documents, T tokens, M masked tokens, R rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modules.contracts import IGNORE, RaggedText

from .buckets import Bucket, choose_bucket
from .counter_hash import fold
from .masking import MaskableIds, mask_tokens
from .packing import Examples
from .ragged import Ends, Tokens, filled, gather_documents, places_in_document, ragged_text
from .split import Split


@dataclass(frozen=True)
class BatchMaker:
    """Lays documents out and masks them: which tokens is a function of (key, epoch, document, place in the document).

    Attributes:
        num_slots: B, documents of a batch; missing ones become empty.
        max_seqlen: Longest document, its ends counted.
        ends: Ids around documents.
        maskable: Ids that may be masked and put in.
        buckets: The shapes of batches.
        key: uint64[1], the seed of the masks.
    """

    num_slots: int
    max_seqlen: int
    ends: Ends
    maskable: MaskableIds
    buckets: list[Bucket]
    key: np.ndarray

    def make(
        self, source: Tokens, places_N: np.ndarray, numbers_N: np.ndarray, epochs_N: np.ndarray, rate: float
    ) -> RaggedText:
        """One micro-batch.

        Args:
            source: Where the tokens are.
            places_N: Where the documents stand in `source`.
            numbers_N: Their numbers in the corpus, which decide the masks.
            epochs_N: Epoch each document is seen in.
            rate: Share of the ordinary tokens that is masked.
        """
        ids_T, bounds = gather_documents(source, places_N, self.max_seqlen, self.ends)
        keys_N = fold(fold(self.key, epochs_N), numbers_N)
        keys_T = fold(np.repeat(keys_N, np.diff(bounds)), places_in_document(bounds))
        rows_M, labels_M = mask_tokens(ids_T, keys_T, rate, self.maskable)
        bucket = choose_bucket(self.buckets, len(ids_T), len(rows_M))
        batch = ragged_text(
            ids_T,
            bounds,
            numbers_N,
            num_tokens=bucket.num_tokens,
            num_slots=self.num_slots,
            max_seqlen=self.max_seqlen,
            pad_id=self.ends.pad_id,
        )
        labels_T = np.full(bucket.num_tokens, IGNORE, dtype=np.int64)
        labels_T[rows_M] = labels_M
        batch.labels = filled(labels_T, bucket.num_tokens, IGNORE)
        batch.rows = filled(rows_M, bucket.num_rows, 0)  # position 0 is a [CLS] or filler: its label is IGNORE
        return batch


@dataclass(frozen=True)
class MaskedExamples:
    """Examples of one side of a store as masked micro-batches.

    Attributes:
        source: The tokens.
        split: The documents that may be used.
        examples: Which documents make an example.
        micro_batch_size: Examples of a full batch.
        maker: Makes the batches.
    """

    source: Tokens
    split: Split
    examples: Examples
    micro_batch_size: int
    maker: BatchMaker

    def build(self, examples: np.ndarray, epochs: np.ndarray, rate: float) -> RaggedText:
        """One micro-batch.

        Args:
            examples: Numbers of at most `micro_batch_size` examples.
            epochs: Epoch of each example.
            rate: Share of the ordinary tokens that is masked.
        """
        parts = self.examples.documents(examples)
        numbers_N = self.split.numbers(np.concatenate([*parts, np.empty(0, dtype=np.int64)]))
        return self.maker.make(
            self.source, numbers_N, numbers_N, np.repeat(epochs, [len(part) for part in parts]), rate
        )

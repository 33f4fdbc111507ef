"""Texts to predict on, as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from modules.contracts import RaggedText, Vocabulary

from .corpus import Corpus
from .ragged import Ends, Tokens, gather_documents, ragged_text
from .streams import ordered_loader, whole_batches
from .tokenized_texts import tokenize_texts
from .vocabulary import document_ends

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass
class PredictionBatches(Dataset[RaggedText]):
    """Texts in order, as they are: no masks, no labels.

    Attributes:
        texts: The tokenized texts.
        ends: Ids around documents.
        micro_batch_size: Documents of a batch.
        max_seqlen: Longest document, its ends counted.
        num_replicas: Devices that share the batches.
    """

    texts: Tokens
    ends: Ends
    micro_batch_size: int
    max_seqlen: int
    num_replicas: int

    def __len__(self) -> int:
        return whole_batches(len(self.texts.offsets) - 1, self.micro_batch_size, self.num_replicas)

    def __getitem__(self, number: int) -> RaggedText:
        first = number * self.micro_batch_size
        numbers = np.arange(first, max(first, min(first + self.micro_batch_size, len(self.texts.offsets) - 1)))
        ids, bounds = gather_documents(self.texts, numbers, self.max_seqlen, self.ends)
        return ragged_text(
            ids,
            bounds,
            numbers,
            num_tokens=self.micro_batch_size * self.max_seqlen,
            num_slots=self.micro_batch_size,
            max_seqlen=self.max_seqlen,
            pad_id=self.ends.pad_id,
        )


def prediction_loader(
    corpus: Corpus | None,
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    *,
    micro_batch_size: int,
    max_seqlen: int,
    num_replicas: int,
    replica: int,
    **options: Any,
) -> DataLoader[RaggedText]:
    """A loader of one device's part of some texts, in order, without masks and labels.

    Args:
        corpus: The texts; they are tokenized here and now.
        tokenizer: Its special tokens may stand in the texts, such as [MASK].
        vocabulary: Special ids of the tokenizer.
        micro_batch_size: Documents of a batch.
        max_seqlen: Longest document, its ends counted.
        num_replicas: Devices that share the batches.
        replica: Number of this device.
        options: As `loader_options` gives them.

    Raises:
        ValueError: No texts are given.
    """
    if corpus is None:
        raise ValueError("predict needs texts: set data.init_args.predict, for example datamodules.text.TextFiles")
    texts = tokenize_texts(tokenizer, list(corpus))
    dataset = PredictionBatches(texts, document_ends(vocabulary), micro_batch_size, max_seqlen, num_replicas)
    return ordered_loader(dataset, num_replicas, replica, **options)

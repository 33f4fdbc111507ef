"""Documents laid out equal what Hugging Face's truncation gives (acceptance test 15)."""

from itertools import pairwise

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from datamodules.text import TokenStore
from datamodules.text.ragged import Ends, gather_documents, places_in_document, ragged_text

ENDS = Ends(cls_id=2, sep_id=3, pad_id=0)


@pytest.mark.parametrize("max_seqlen", [3, 16, 128, 1000])
def test_documents_equal_truncated_tokenization(max_seqlen: int, store: TokenStore, texts: list[str]) -> None:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(store.folder / "tokenizer.json"), cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]"
    )
    numbers = np.array([0, len(store) - 1, 5, 5, *range(100, 400)])
    ids, bounds = gather_documents(store, numbers, max_seqlen, ENDS)
    expected = tokenizer([texts[number] for number in numbers], truncation=True, max_length=max_seqlen)["input_ids"]
    assert [ids[start:stop].tolist() for start, stop in pairwise(bounds)] == expected


def test_layout_of_a_short_batch(store: TokenStore) -> None:
    ids, bounds = gather_documents(store, np.array([3, 4]), 16, ENDS)
    batch = ragged_text(ids, bounds, np.array([3, 4]), num_tokens=64, num_slots=4, max_seqlen=16, pad_id=0)
    total = int(bounds[-1])
    assert batch.cu_seqlens.tolist() == [0, bounds[1], total, total, total]
    assert batch.num_tokens == total
    assert batch.input_ids.shape == (64,)
    assert batch.input_ids[:total].tolist() == ids.tolist()
    assert not batch.input_ids[total:].any()
    assert batch.documents is not None
    assert batch.documents.tolist() == [3, 4, -1, -1]
    assert places_in_document(bounds).tolist() == [*range(bounds[1]), *range(total - bounds[1])]


def test_no_documents_at_all(store: TokenStore) -> None:
    ids, bounds = gather_documents(store, np.empty(0, dtype=np.int64), 16, ENDS)
    batch = ragged_text(ids, bounds, np.empty(0, dtype=np.int64), num_tokens=64, num_slots=2, max_seqlen=16, pad_id=0)
    assert batch.num_tokens == 0
    assert batch.cu_seqlens.tolist() == [0, 0, 0]

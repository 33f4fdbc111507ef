"""Packs hold neighbouring documents, each once, never more than fit."""

from itertools import pairwise

import numpy as np
import pytest

from datamodules.text import TokenStore, packing
from datamodules.text.packing import PackedDocuments
from datamodules.text.split import Split


def test_packs_hold_each_document_once_and_never_too_much(store: TokenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    split = Split(len(store), 50, held_out=False)
    for block in (2**20, 100):
        monkeypatch.setattr(packing, "BLOCK_DOCUMENTS", block)
        packed = PackedDocuments(store, split, max_seqlen=96)
        parts = packed.documents(np.arange(len(packed)))
        assert np.array_equal(np.concatenate(parts), np.arange(len(split)))
        assert max(map(len, parts)) <= packed.max_documents == 12
        sizes = [sum(min(len(store[int(n)]) + 2, 96) for n in split.numbers(part)) for part in parts]
        assert max(sizes) <= 96
        assert len(packed) < 0.9 * len(split)


def test_packs_are_filled_greedily(store: TokenStore) -> None:
    split = Split(len(store), 0, held_out=False)
    packed = PackedDocuments(store, split, max_seqlen=96)
    parts = packed.documents(np.arange(len(packed)))
    for part, following in pairwise(parts):
        size = sum(min(len(store[int(n)]) + 2, 96) for n in [*part, following[0]])
        assert size > 96 or len(part) == packed.max_documents

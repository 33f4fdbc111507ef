"""Places of tokens in ragged batches, and pooling."""

import torch

from modules.layers import mean_pool
from modules.layers.documents import document_of_token, locate

CU_SEQLENS = torch.tensor([0, 3, 3, 4, 6], dtype=torch.int32)  # lengths 3, 0, 1, 2, then filler


def test_each_token_finds_its_document() -> None:
    assert document_of_token(8, CU_SEQLENS).tolist() == [0, 0, 0, 2, 3, 3, 4, 4]


def test_places_start_again_in_each_document() -> None:
    documents = locate(8, CU_SEQLENS, max_seqlen=3)
    assert documents.positions_T.tolist() == [0, 1, 2, 0, 0, 1, 0, 0]
    assert documents.positions_T.dtype == torch.int64
    assert documents.valid_T.tolist() == [True] * 6 + [False] * 2
    assert documents.max_seqlen == 3


def test_mean_pool_ignores_filler_and_gives_zero_for_nothing() -> None:
    hidden = torch.randn(8, 5)
    hidden[6:] = 1e9
    pooled = mean_pool(hidden, CU_SEQLENS)
    expected = torch.stack([hidden[:3].mean(0), torch.zeros(5), hidden[3], hidden[4:6].mean(0)])
    torch.testing.assert_close(pooled, expected)


def test_mean_pool_of_bfloat16_is_summed_in_float32() -> None:
    hidden = torch.full((4096, 1), 1.0).bfloat16()  # a bfloat16 sum would stop at 256
    pooled = mean_pool(hidden, torch.tensor([0, 4096], dtype=torch.int32))
    assert pooled.dtype == torch.float32
    assert pooled.item() == 1.0

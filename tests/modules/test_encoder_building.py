"""How an encoder is built: sizes of the paper, initial values, a vocabulary that comes later, errors."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from modules.encoder import Bert, Encoder, MosaicBert


@pytest.mark.parametrize(
    ("kind", "options", "count"),
    [
        (MosaicBert, {}, 137_400_384),
        (Bert, {}, 109_514_298),
        (Bert, {"dim": 1024, "num_layers": 24, "num_heads": 16}, 335_174_458),
    ],
)
def test_parameter_counts_of_the_paper(kind: type[Encoder], options: dict[str, Any], count: int) -> None:
    with torch.device("meta"):
        encoder = kind(30522, **options)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == count
    if kind is MosaicBert:
        head = sum(parameter.numel() for parameter in encoder.head.parameters())
        assert count - head == 136_777_728


def test_parameter_count_of_another_size_follows_from_its_shapes() -> None:
    encoder = MosaicBert(100, dim=24, num_layers=3, num_heads=2, hidden_dim=40, pad_vocab_to=64)
    block = (24 * 72 + 72) + (24 * 24 + 24) + 2 * 48 + 24 * 80 + (40 * 24 + 24)
    expected = 128 * 24 + 2 * 24 + 48 + 3 * block + (24 * 24 + 24) + 48 + 128
    assert sum(parameter.numel() for parameter in encoder.parameters()) == expected


def test_the_vocabulary_table_is_padded_and_is_the_output_matrix() -> None:
    encoder = MosaicBert(30522, dim=8, num_layers=1, num_heads=2)
    assert encoder.num_vocab_rows == 30528
    assert encoder.embeddings.word is not None
    hidden = torch.randn(1, 8)
    before = encoder.logits(hidden)
    encoder.embeddings.word.weight.data[5].normal_()  # the only copy: the logit of 5 moves, and no other
    assert (encoder.logits(hidden) - before).nonzero()[:, 1].tolist() == [5]
    assert encoder.logits(hidden).shape == (1, 30528)


def test_initial_values() -> None:
    torch.manual_seed(0)
    encoder = MosaicBert(2000, dim=128, num_layers=2, num_heads=2)
    for name, parameter in encoder.named_parameters():
        if parameter.ndim == 2 and parameter.numel() > 1000:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.02), name
            assert abs(parameter.mean().item()) < 1e-3, name
        elif name.endswith("norm.weight"):
            assert torch.equal(parameter, torch.ones_like(parameter)), name
        elif name.endswith("bias"):
            assert torch.equal(parameter, torch.zeros_like(parameter)), name
    assert encoder.embeddings.word is not None
    assert encoder.embeddings.word.weight[0].abs().max() == 0


def test_initial_loss_is_the_entropy_of_a_uniform_guess() -> None:
    torch.manual_seed(0)
    encoder = MosaicBert(30522, dim=128, num_layers=2, num_heads=4, dropout=0.0)
    ids, labels = torch.randint(1000, 30522, (2, 256))
    hidden, _ = encoder(ids, torch.tensor([0, 128, 256], dtype=torch.int32), 128)
    # the logits add about 0.02^2 * 128 / 2 to it
    assert F.cross_entropy(encoder.logits(hidden), labels).item() == pytest.approx(math.log(30528), abs=0.1)


def test_a_meta_device_model_comes_to_life() -> None:
    with torch.device("meta"):
        encoder = MosaicBert(2000, dim=64, num_layers=1, num_heads=4)
    for module in encoder.modules():  # Lightning asks each module that has weights of its own
        has_own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        assert not has_own or hasattr(module, "reset_parameters"), type(module)
    encoder.to_empty(device="cpu")
    for parameter in encoder.parameters():
        nn.init.constant_(parameter, math.nan)
    torch.manual_seed(0)
    encoder.reset_parameters()
    assert all(parameter.isfinite().all() for parameter in encoder.parameters())
    gate_up = encoder.get_parameter("layers.0.feedforward.gate_up.weight")
    assert gate_up.std().item() == pytest.approx(0.02, rel=0.05)
    torch.testing.assert_close(encoder.positions.slopes_H, torch.tensor([0.25, 0.0625, 0.015625, 0.00390625]))


def test_the_vocabulary_may_come_later_but_not_change() -> None:
    encoder = MosaicBert(dim=8, num_layers=1, num_heads=2)
    cu_seqlens = torch.tensor([0, 2], dtype=torch.int32)
    assert not encoder.is_configured
    with pytest.raises(ValueError, match="vocab_size of the encoder is not known"):
        encoder(torch.tensor([1, 2]), cu_seqlens, 2)
    with pytest.raises(ValueError, match="vocab_size of the encoder is not known"):
        _ = encoder.num_vocab_rows
    encoder.set_vocabulary(100)
    table = encoder.embeddings.word
    encoder.set_vocabulary(100)
    assert encoder.embeddings.word is table
    assert encoder.num_vocab_rows == 128
    assert encoder.logits(encoder(torch.tensor([1, 2]), cu_seqlens, 2)[0]).shape == (2, 128)
    with pytest.raises(ValueError, match="vocab_size=100 of the encoder is not the 200 of the vocabulary"):
        encoder.set_vocabulary(200)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 50}, "dim=50 must be a multiple of num_heads=12"),
        ({"num_layers": 0}, "num_layers=0 must be at least 1"),
        ({"hidden_dim": 0}, "hidden_dim=0 must be at least 1"),
        ({"dropout": 1.0}, r"dropout=1.0 must be in \[0, 1\)"),
        ({"attention_dropout": -0.1}, r"attention_dropout=-0.1 must be in \[0, 1\)"),
        ({"hidden_dim": 64, "feedforward": nn.Identity}, "hidden_dim=64 has no effect beside a feedforward"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MosaicBert(100, **({"dim": 48, "num_layers": 1, "num_heads": 12} | options))

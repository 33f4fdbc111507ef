"""What the encoder computes: ragged equals padded, documents do not leak, rows equal all."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules.contracts import IGNORE
from modules.encoder import Bert, Encoder, MosaicBert
from modules.layers import AlibiPositions, LearnedPositions, Positions, RotaryPositions
from modules.layers.attention import Attention, AutoAttention, ReferenceAttention, SdpaAttention

LENGTHS = [17, 1, 0, 40, 2, 128]
NUM_FILLER = 12
VOCAB_SIZE = 90


def build(kind: type[MosaicBert] | type[Bert] = MosaicBert, **options: Any) -> Encoder:
    """A small encoder in float64 without dropout, all weights random, so that no term hides behind a zero."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "dim": 48,
        "num_layers": 2,
        "num_heads": 12,
        "hidden_dim": 64,
        "dropout": 0.0,
        "attention_dropout": 0.0,
    }
    encoder = kind(VOCAB_SIZE, **(sizes | {"attention": ReferenceAttention()} | options)).double()
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.3)
    return encoder


def ragged(lengths: list[int] = LENGTHS, num_filler: int = NUM_FILLER) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ids, kinds and labels of the documents laid end to end, and where they start."""
    generator = torch.Generator().manual_seed(1)
    cu_seqlens = torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)
    num_tokens = sum(lengths)
    ids = torch.randint(1, VOCAB_SIZE, (num_tokens + num_filler,), generator=generator)
    kinds = torch.randint(0, 2, ids.shape, generator=generator)
    masked = torch.rand(ids.shape, generator=generator) < 0.3
    masked[num_tokens:] = False
    labels = torch.randint(0, VOCAB_SIZE, ids.shape, generator=generator).masked_fill(~masked, IGNORE)
    return ids, kinds, labels, cu_seqlens


def loss_of(encoder: Encoder, hidden: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(encoder.logits(hidden), labels, ignore_index=IGNORE)


def gradients(encoder: Encoder, loss: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*encoder.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return dict(zip(names, found, strict=True))


def assert_same_gradients(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-10) -> None:
    for name, gradient in expected.items():
        assert (found[name] - gradient).norm() <= tolerance * gradient.norm(), name
        assert gradient.norm() > 0, name


def padded_mosaicbert(encoder: Encoder, ids_BS: Tensor, kinds_BS: Tensor, is_real_BS: Tensor) -> Tensor:
    """MosaicBERT after section 2 of the paper, over a padded rectangle: shares weights with `encoder`, no code."""
    state = dict(encoder.named_parameters())
    num_heads, (batch, length) = encoder.positions.num_heads, ids_BS.shape
    dim = state["embeddings.word.weight"].shape[1]

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ state[f"{name}.weight"].T + state.get(f"{name}.bias", 0.0)

    def norm(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-12).sqrt()
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    places = torch.arange(length)
    slopes = encoder.positions.slopes_H
    assert isinstance(slopes, Tensor)
    bias_HSS = -slopes.double()[:, None, None] * (places[:, None] - places).abs()
    padding_B11S = torch.zeros(batch, 1, 1, length).masked_fill(~is_real_BS[:, None, None], -1e9)
    x = state["embeddings.word.weight"][ids_BS] + state["embeddings.types.weight"][kinds_BS]
    x = norm(x, "embeddings.norm")
    for layer in (f"layers.{index}" for index in range(len(encoder.layers))):
        q, k, v = linear(x, f"{layer}.qkv").view(batch, length, 3, num_heads, -1).permute(2, 0, 3, 1, 4)
        scores = q @ k.mT / math.sqrt(q.shape[-1]) + bias_HSS.to(q.dtype) + padding_B11S.to(q.dtype)
        attended = (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, dim)
        x = norm(linear(attended, f"{layer}.attention_output") + x, f"{layer}.attention_norm")
        gate, up = linear(x, f"{layer}.feedforward.gate_up").chunk(2, -1)
        gated = 0.5 * gate * (1 + torch.erf(gate / math.sqrt(2))) * up
        x = norm(linear(gated, f"{layer}.feedforward.output") + x, f"{layer}.feedforward_norm")
    return x


def rectangle(values: Tensor, cu_seqlens: Tensor, width: int, fill: int) -> Tensor:
    out = torch.full((len(cu_seqlens) - 1, width), fill)
    for row, (start, end) in enumerate(pairwise(cu_seqlens)):
        out[row, : end - start] = values[start:end]
    return out


@pytest.mark.parametrize(
    ("attention", "dtype", "width", "tolerance"),
    [
        (ReferenceAttention, torch.float64, 128, 1e-10),
        (ReferenceAttention, torch.float64, 150, 1e-10),
        (SdpaAttention, torch.float64, 128, 1e-10),
        (SdpaAttention, torch.float32, 128, 1e-5),
    ],
)
def test_ragged_equals_padded_in_outputs_loss_and_all_gradients(
    attention: type[Attention], dtype: torch.dtype, width: int, tolerance: float
) -> None:
    encoder = build(attention=attention()).to(dtype)
    ids, kinds, labels, cu_seqlens = ragged()
    hidden, routing = encoder(ids, cu_seqlens, 128, token_type_ids=kinds)
    loss = loss_of(encoder, hidden, labels)

    ids_BS, kinds_BS = (rectangle(values, cu_seqlens, width, 0) for values in (ids, kinds))
    labels_BS = rectangle(labels, cu_seqlens, width, IGNORE)
    is_real_BS = rectangle(torch.ones_like(ids), cu_seqlens, width, 0).bool()
    expected = padded_mosaicbert(encoder, ids_BS, kinds_BS, is_real_BS)
    expected_loss = loss_of(encoder, expected.flatten(0, 1), labels_BS.flatten())

    assert routing == []
    assert (hidden[: cu_seqlens[-1]] - expected[is_real_BS]).norm() <= tolerance * expected[is_real_BS].norm()
    torch.testing.assert_close(loss, expected_loss, rtol=tolerance, atol=0)
    assert_same_gradients(gradients(encoder, loss), gradients(encoder, expected_loss), tolerance)


@pytest.mark.parametrize("positions", [AlibiPositions, LearnedPositions, RotaryPositions])
def test_order_of_documents_filler_and_upper_bound_change_nothing(positions: type[Positions]) -> None:
    encoder, (ids, _, _, cu_seqlens) = build(positions=positions, num_heads=6), ragged()
    hidden, _ = encoder(ids, cu_seqlens, 128)
    documents = [hidden[start:end] for start, end in pairwise(cu_seqlens)]
    order = [3, 0, 5, 2, 4, 1]
    shuffled = torch.cat([ids[cu_seqlens[i] : cu_seqlens[i + 1]] for i in order] + [torch.full((30,), 7)])
    shuffled_starts = torch.tensor([0] + [LENGTHS[i] for i in order]).cumsum(0).to(torch.int32)
    again, _ = encoder(shuffled, shuffled_starts, 200)
    expected = torch.cat([documents[i] for i in order])
    torch.testing.assert_close(again[: cu_seqlens[-1]], expected, rtol=1e-10, atol=1e-10)


def test_documents_do_not_leak() -> None:
    encoder, (ids, _, _, cu_seqlens) = build(), ragged()
    looked_up: list[Tensor] = []
    assert encoder.embeddings.word is not None
    encoder.embeddings.word.register_forward_hook(lambda *call: looked_up.append(call[2]))
    hidden, _ = encoder(ids, cu_seqlens, 128)
    changed = ids.clone()
    changed[:17] = (ids[:17] + 5) % VOCAB_SIZE
    again, _ = encoder(changed, cu_seqlens, 128)
    assert torch.equal(hidden[17 : cu_seqlens[-1]], again[17 : cu_seqlens[-1]])
    assert not torch.allclose(hidden[:17], again[:17])
    (gradient,) = torch.autograd.grad(hidden[18:58].square().sum(), looked_up[0])
    assert gradient[18:58].abs().min() > 0
    assert gradient[:18].abs().max() == 0
    assert gradient[58:].abs().max() == 0


@pytest.mark.parametrize("norm_position", ["post", "pre"])
def test_rows_equal_the_dense_computation(norm_position: str) -> None:
    encoder, (ids, kinds, labels, cu_seqlens) = build(norm_position=norm_position), ragged()
    masked = (labels != IGNORE).nonzero().flatten()
    rows = torch.cat([masked, torch.zeros(9, dtype=torch.int64)])  # filled up to a budget with a token of no label
    row_labels = torch.cat([labels[masked], torch.full((9,), IGNORE)])
    sparse, _ = encoder(ids, cu_seqlens, 128, token_type_ids=kinds, rows=rows)
    dense, _ = encoder(ids, cu_seqlens, 128, token_type_ids=kinds)
    torch.testing.assert_close(sparse, dense[rows], rtol=1e-12, atol=1e-12)
    sparse_loss, dense_loss = loss_of(encoder, sparse, row_labels), loss_of(encoder, dense, labels)
    torch.testing.assert_close(sparse_loss, dense_loss, rtol=1e-12, atol=0)
    assert_same_gradients(gradients(encoder, sparse_loss), gradients(encoder, dense_loss))


def test_only_the_rows_enter_the_last_feed_forward() -> None:
    encoder, (ids, _, _, cu_seqlens) = build(), ragged()
    sizes: list[int] = []
    layers: list[Any] = list(encoder.layers)
    for layer in layers:
        layer.attention_output.register_forward_hook(lambda *call: sizes.append(len(call[2])))
        layer.feedforward.register_forward_hook(lambda *call: sizes.append(len(call[2][0])))
    encoder(ids, cu_seqlens, 128, rows=torch.tensor([0, 5, 5]))
    assert sizes == [len(ids), len(ids), 3, 3]


def test_pre_norm_leaves_the_residual_stream_alone() -> None:
    encoder, (ids, _, _, cu_seqlens) = build(norm_position="pre"), ragged()
    block = encoder.layers[0]
    for name in ("attention_output", "feedforward.output"):
        for parameter in block.get_submodule(name).parameters():
            nn.init.zeros_(parameter)
    seen: list[Tensor] = []
    block.register_forward_hook(lambda *call: seen.extend((call[1][0], call[2][0])))
    hidden, _ = encoder(ids, cu_seqlens, 128)
    assert torch.equal(seen[0], seen[1])
    torch.testing.assert_close(encoder.final_norm(hidden).shape, hidden.shape)
    assert isinstance(encoder.final_norm, nn.LayerNorm)


def test_missing_token_types_are_zeros() -> None:
    encoder, (ids, _, _, cu_seqlens) = build(), ragged()
    implicit, _ = encoder(ids, cu_seqlens, 128)
    explicit, _ = encoder(ids, cu_seqlens, 128, token_type_ids=torch.zeros_like(ids))
    assert torch.equal(implicit, explicit)


def test_gradients_against_finite_differences() -> None:
    torch.manual_seed(0)
    encoder = MosaicBert(7, dim=6, num_layers=1, num_heads=3, hidden_dim=5, dropout=0.0, attention=ReferenceAttention())
    encoder = encoder.double()
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.5)
    ids, cu_seqlens = torch.tensor([1, 2, 3, 4, 5, 0]), torch.tensor([0, 3, 5], dtype=torch.int32)
    names = [name for name, _ in encoder.named_parameters()]

    def logits(*parameters: Tensor) -> Tensor:
        values = dict(zip(names, parameters, strict=True))

        class Whole(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.encoder = encoder

            def forward(self) -> Tensor:
                return self.encoder.logits(self.encoder(ids, cu_seqlens, 3)[0][:5])

        return torch.func.functional_call(Whole(), {f"encoder.{name}": value for name, value in values.items()}, ())

    assert torch.autograd.gradcheck(logits, tuple(encoder.parameters()), fast_mode=True)


@pytest.mark.parametrize("dropout", ["dropout", "attention_dropout"])
def test_dropout_acts_in_training_only(dropout: str) -> None:
    encoder, (ids, _, _, cu_seqlens) = build(**dict[str, Any]({dropout: 0.5})), ragged()
    first, second = encoder(ids, cu_seqlens, 128)[0], encoder(ids, cu_seqlens, 128)[0]
    assert not torch.allclose(first, second)
    encoder.eval()
    assert torch.equal(encoder(ids, cu_seqlens, 128)[0], encoder(ids, cu_seqlens, 128)[0])


def test_a_document_longer_than_the_learned_positions_is_refused() -> None:
    encoder, (ids, _, _, cu_seqlens) = build(Bert), ragged()
    with pytest.raises(ValueError, match="max_seqlen=513 exceeds max_positions=512 of LearnedPositions"):
        encoder(ids, cu_seqlens, 513)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch.compile looks there itself
@pytest.mark.parametrize("positions", [AlibiPositions, RotaryPositions])
def test_each_block_compiles_without_a_break(positions: type[Positions]) -> None:
    encoder = build(positions=positions, num_heads=6, attention=AutoAttention())
    expected = outputs_and_gradients(encoder)
    for layer in encoder.layers:
        layer.compile(backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(outputs_and_gradients(encoder), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
def test_the_whole_encoder_compiles_without_a_break_under_autocast() -> None:
    encoder = build(attention=AutoAttention()).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = outputs_and_gradients(encoder)
        encoder.compile(backend="aot_eager", fullgraph=True)
        found = outputs_and_gradients(encoder)
    assert found[0].dtype == torch.bfloat16  # the residual stream too, thanks to the norms
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() <= 0.05 * other.norm()


def outputs_and_gradients(encoder: Encoder) -> list[Tensor]:
    ids, kinds, _, cu_seqlens = ragged()
    hidden, _ = encoder(ids, cu_seqlens, 128, token_type_ids=kinds, rows=torch.tensor([3, 4, 4, 150]))
    return [hidden, *gradients(encoder, hidden.float().square().sum() / 100).values()]

"""What `benchmarks.mosaicbert` measures: models, what they eat, and what they cost by their definition.

Letters: B documents, S slots of the longest, T tokens of all documents and the filler behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules.encoder import Encoder
from modules.flops import EncoderFlops, encoder_flops, flops_of_encoder
from modules.layers import (
    AlibiPositions,
    AutoAttention,
    GatedLinearUnit,
    LayerNorm,
    LearnedPositions,
    LowPrecisionLayerNorm,
    Mlp,
    SdpaAttention,
)

MASKED_SHARE = 0.3
DROPOUT = 0.1


@dataclass(frozen=True)
class Size:
    """Shape of the models and of a batch.

    `slots` is the number of documents times the longest of them; `modernbert` overrides the defaults of its config.
    """

    num_layers: int = 12
    dim: int = 768
    num_heads: int = 12
    hidden_dim: int = 3072
    vocab_size: int = 30522
    slots: int = 65536
    modernbert: dict[str, Any] | None = None
    compile_backend: str = "inductor"


TOY = Size(
    num_layers=2,
    dim=64,
    num_heads=4,
    hidden_dim=128,
    vocab_size=500,
    slots=512,
    modernbert={"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 96}
    | {"vocab_size": 500, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    | {"cls_token_id": 1, "sep_token_id": 2},
    compile_backend="eager",
)


@dataclass(frozen=True)
class Batch:
    """The same documents padded and ragged, `MASKED_SHARE` of their tokens to be guessed."""

    input_ids_BS: Tensor
    labels_BS: Tensor
    is_real_BS: Tensor
    input_ids_T: Tensor
    labels_T: Tensor
    cu_seqlens: Tensor
    rows: Tensor

    @classmethod
    def draw(cls, size: Size, seqlen: int, real_share: float, device: torch.device) -> Batch:
        """Documents of evenly spread lengths, the longest full, on average `real_share` of it."""
        generator = torch.Generator().manual_seed(0)
        num_documents = size.slots // seqlen
        lengths = torch.linspace((2 * real_share - 1) * seqlen, seqlen, num_documents).round().long()
        lengths = lengths[torch.randperm(num_documents, generator=generator)]
        is_real_BS = torch.arange(seqlen) < lengths[:, None]
        input_ids_BS = torch.randint(3, size.vocab_size, is_real_BS.shape, generator=generator) * is_real_BS
        num_real = int(lengths.sum())
        rows = torch.randperm(num_real, generator=generator)[: round(MASKED_SHARE * num_real)].sort().values
        input_ids_T = input_ids_BS[is_real_BS]
        labels_T = torch.full_like(input_ids_T, -100)
        labels_T[rows] = input_ids_T[rows]
        labels_BS = torch.full_like(input_ids_BS, -100)
        labels_BS[is_real_BS] = labels_T
        filler = -num_real % 128
        cu_seqlens = F.pad(lengths.cumsum(0), (1, 0)).int()
        padded_T = F.pad(input_ids_T, (0, filler)), F.pad(labels_T, (0, filler), value=-100)
        tensors = (input_ids_BS, labels_BS, is_real_BS, *padded_T, cu_seqlens, rows)
        return cls(*(tensor.to(device) for tensor in tensors))

    @property
    def num_real(self) -> int:
        return int(self.cu_seqlens[-1])

    @property
    def mean_attended(self) -> float:
        """Tokens that a real token attends to, on average."""
        lengths = self.cu_seqlens.diff().double()
        return float(lengths.square().sum() / lengths.sum())


class Padded(nn.Module):
    """A masked language model of transformers: rectangles in, and a head on every slot."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids_BS: Tensor, labels_BS: Tensor, mask_BS: Tensor | None) -> Tensor:
        return self.model(input_ids=input_ids_BS, labels=labels_BS, attention_mask=mask_BS).loss

    @staticmethod
    def inputs(batch: Batch) -> tuple[Any, ...]:
        """Without a mask where nothing is padding."""
        mask_BS = None if batch.is_real_BS.all() else batch.is_real_BS.long()
        return batch.input_ids_BS, batch.labels_BS, mask_BS


class Ragged(nn.Module):
    """Our encoder: documents end to end, and the head on every token or on the masked rows alone."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(
        self, input_ids_T: Tensor, labels: Tensor, cu_seqlens: Tensor, max_seqlen: int, rows: Tensor | None
    ) -> Tensor:
        hidden, _ = self.encoder(input_ids_T, cu_seqlens, max_seqlen, rows=rows)
        return F.cross_entropy(self.encoder.logits(hidden).float(), labels)  # log-sum-exp in fp32

    @staticmethod
    def inputs(batch: Batch, *, masked_rows_only: bool) -> tuple[Any, ...]:
        rows = batch.rows if masked_rows_only else None
        labels = batch.labels_T if rows is None else batch.labels_T[rows]
        return batch.input_ids_T, labels, batch.cu_seqlens, batch.is_real_BS.shape[1], rows


@dataclass(frozen=True)
class Contender:
    """A line of the table: how to build a model, what it eats, and what it costs by its definition."""

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[Batch], tuple[Any, ...]]
    flops: Callable[[nn.Module, float], EncoderFlops]
    compiled: bool


def transformers_bert(size: Size, *, compiled: bool) -> Contender:
    """BertForMaskedLM with sdpa and no attention dropout."""
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=size.vocab_size,
        hidden_size=size.dim,
        num_hidden_layers=size.num_layers,
        num_attention_heads=size.num_heads,
        intermediate_size=size.hidden_dim,
        hidden_dropout_prob=DROPOUT,
        attention_probs_dropout_prob=0.0,
        attn_implementation="sdpa",
    )

    def flops(_: nn.Module, attended: float) -> EncoderFlops:
        shape = {"num_layers": size.num_layers, "dim": size.dim, "hidden_dim": size.hidden_dim}
        return encoder_flops(
            **shape, gated=False, num_vocab_rows=size.vocab_size, seqlen=attended, head_fraction=MASKED_SHARE
        )

    name = "BertForMaskedLM" + (", compiled" if compiled else "")
    return Contender(name, lambda: Padded(BertForMaskedLM(config)), Padded.inputs, flops, compiled)


def transformers_modernbert(size: Size) -> Contender:
    """ModernBertForMaskedLM with sdpa, compiled."""
    from transformers import ModernBertConfig, ModernBertForMaskedLM

    config = ModernBertConfig(**(size.modernbert or {}), attn_implementation="sdpa")

    def flops(_: nn.Module, attended: float) -> EncoderFlops:
        num_global = -(-config.num_hidden_layers // 3)  # every third layer attends to the whole document
        num_local = config.num_hidden_layers - num_global
        window = min(attended, config.local_attention + 1)
        return encoder_flops(
            num_layers=config.num_hidden_layers,
            dim=config.hidden_size,
            hidden_dim=config.intermediate_size,
            gated=True,
            num_vocab_rows=config.vocab_size,
            seqlen=(num_global * attended + num_local * window) / config.num_hidden_layers,
            head_fraction=MASKED_SHARE,
        )

    name = "ModernBertForMaskedLM, compiled"
    return Contender(name, lambda: Padded(ModernBertForMaskedLM(config)), Padded.inputs, flops, compiled=True)


def ladder(size: Size) -> Iterator[Contender]:
    """From BERT without padding up to MosaicBERT, one feature at a time; each rung keeps those below it."""
    encoder = partial(
        Encoder,
        size.vocab_size,
        dim=size.dim,
        num_layers=size.num_layers,
        num_heads=size.num_heads,
        positions=LearnedPositions,
        feedforward=partial(Mlp, hidden_dim=size.hidden_dim, dropout=DROPOUT),
        norm=LayerNorm,
        attention=SdpaAttention(),
        dropout=DROPOUT,
    )

    def rung(name: str, *, masked_rows_only: bool = True, compiled: bool = False) -> Contender:
        def flops(model: nn.Module, attended: float) -> EncoderFlops:
            assert isinstance(model, Ragged)
            return flops_of_encoder(model.encoder, seqlen=attended, head_fraction=MASKED_SHARE)

        build, inputs = encoder, partial(Ragged.inputs, masked_rows_only=masked_rows_only)
        return Contender(name, lambda: Ragged(build()), inputs, flops, compiled)

    yield rung("ours: BERT without padding", masked_rows_only=False)
    yield rung("+ last feed-forward and head on masked rows")
    encoder = partial(encoder, positions=AlibiPositions, attention=AutoAttention())
    yield rung("+ ALiBi and attention kernel")
    encoder = partial(encoder, feedforward=partial(GatedLinearUnit, hidden_dim=size.hidden_dim, dropout=DROPOUT))
    yield rung("+ gated linear units")
    encoder = partial(encoder, norm=LowPrecisionLayerNorm)
    yield rung("+ low-precision norms")
    yield rung("+ compiled", compiled=True)
    encoder = partial(encoder, pad_vocab_to=64)
    yield rung("+ padded vocabulary = MosaicBERT", compiled=True)

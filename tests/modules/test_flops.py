"""FLOPs by formula against the paper's table, against torch's own counter, and the peaks of devices."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from modules.encoder import Bert, MosaicBert
from modules.flops import (
    LanguageModelShape,
    count_flops,
    count_parameters,
    encoder_cost_profile,
    encoder_flops,
    flops_of_encoder,
    inference_flops,
    peak_flops_per_s,
    train_flops_6n,
    train_flops_frozen,
    train_flops_llm_foundry,
    train_flops_palm,
)
from modules.flops.peaks import named_peak_flops_per_s
from modules.layers import GatedLinearUnit, ReferenceAttention
from modules.scaling import recognise

BASE = {"num_layers": 12, "dim": 768, "hidden_dim": 3072}
LARGE = {"num_layers": 24, "dim": 1024, "hidden_dim": 4096}


@pytest.mark.parametrize(
    ("size", "seqlen", "linear", "attention", "head", "train", "attention_share"),
    [
        (BASE, 128, 226.5, 4.7, 14.4, 737, 0.019),
        (BASE, 512, 226.5, 18.9, 14.4, 779, 0.073),
        (BASE, 2048, 226.5, 75.5, 14.4, 949, 0.24),
        (LARGE, 128, 805, 12.6, 19.4, 2512, 0.015),
    ],
)
def test_table_of_mosaicbert(
    size: dict[str, int],
    seqlen: int,
    linear: float,
    attention: float,
    head: float,
    train: float,
    attention_share: float,
) -> None:
    flops = encoder_flops(**size, gated=True, num_vocab_rows=30528, seqlen=seqlen, head_fraction=0.3)
    # One unit in the last place that the table prints
    assert flops.linear / 1e6 == pytest.approx(linear, abs=0.5 if linear == 805 else 0.05)
    assert flops.attention / 1e6 == pytest.approx(attention, abs=0.05)
    assert flops.head / 1e6 == pytest.approx(head, abs=0.05)
    assert flops.train / 1e6 == pytest.approx(train, abs=0.5)
    assert flops.attention / flops.forward == pytest.approx(attention_share, abs=0.0051)


@pytest.mark.parametrize(("kind", "gated"), [(MosaicBert, True), (Bert, False)])
def test_weights_of_an_encoder_give_the_same_as_its_numbers(kind: type[MosaicBert | Bert], gated: bool) -> None:
    encoder = kind(1000, dim=64, num_layers=3, num_heads=4)
    by_numbers = encoder_flops(
        num_layers=3,
        dim=64,
        hidden_dim=256,
        gated=gated,
        num_vocab_rows=encoder.num_vocab_rows,
        seqlen=32,
        head_fraction=0.15,
    )
    assert flops_of_encoder(encoder, seqlen=32, head_fraction=0.15) == by_numbers


def test_formula_equals_what_torch_counts() -> None:
    encoder = MosaicBert(1000, dim=64, num_layers=2, num_heads=4, attention=ReferenceAttention())
    input_ids, cu_seqlens = torch.arange(96), torch.tensor([0, 32, 64, 96], dtype=torch.int32)

    def step() -> None:
        hidden_TD, _ = encoder(input_ids, cu_seqlens, 32)
        encoder.logits(hidden_TD).sum().backward()

    expected = flops_of_encoder(encoder, seqlen=32, head_fraction=1.0).train * 96
    assert count_flops(step) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("frozen", ["layers.1", "head.dense", "layers.0.feedforward", "embeddings.word"])
def test_frozen_parts_save_the_gradients_of_their_weights(frozen: str) -> None:
    encoder = MosaicBert(1000, dim=64, num_layers=2, num_heads=4, attention=ReferenceAttention())
    encoder.get_submodule(frozen).requires_grad_(False)
    input_ids, cu_seqlens = torch.arange(64), torch.tensor([0, 32, 64], dtype=torch.int32)
    flops = flops_of_encoder(encoder, seqlen=32, head_fraction=1.0)
    assert 0 < flops.frozen < flops.forward

    def step() -> None:
        hidden_TD, _ = encoder(input_ids, cu_seqlens, 32)
        encoder.logits(hidden_TD).sum().backward()

    assert count_flops(step) == pytest.approx(flops.train * 64, rel=1e-12)
    assert encoder_cost_profile(encoder, seqlen=32, head_fraction=1.0).train_flops == flops.train


def test_frozen_linear_maps_by_formula_and_counted() -> None:
    layers = nn.Sequential(*(nn.Linear(8, 8, bias=False) for _ in range(4)))
    layers[2].requires_grad_(False)
    inputs = torch.zeros(5, 8, requires_grad=True)
    assert count_flops(lambda: layers(inputs).sum().backward()) == 5 * train_flops_frozen(4 * 64, 3 * 64)
    assert train_flops_frozen(1000, 1000) == train_flops_6n(1000)
    with pytest.raises(ValueError, match="num_trainable=11 must lie between 0 and num_parameters=10"):
        train_flops_frozen(10, 11)


SMALL = LanguageModelShape(
    num_vocab_rows=100_352, dim=1024, hidden_dim=2560, num_layers=22, num_kv_heads=4, head_dim=64
)
MEDIUM = LanguageModelShape(
    num_vocab_rows=100_352, dim=2048, hidden_dim=5120, num_layers=24, num_kv_heads=4, head_dim=128
)


def test_parameters_of_sparse_upcycling() -> None:
    routed = replace(SMALL, num_experts=8, num_experts_per_token=2)
    assert SMALL.parameters_total / 1e6 == pytest.approx(436.3, abs=0.05)
    assert MEDIUM.parameters_total / 1e6 == pytest.approx(1417.8, abs=0.05)
    assert routed.parameters_total / 1e6 == pytest.approx(1647.5, abs=0.05)
    assert routed.parameters_active / 1e6 == pytest.approx(506.7, abs=0.05)
    assert SMALL.parameters_total - SMALL.parameters_active == 100_352 * 1024  # a look-up is no arithmetic


def test_budgets_of_sparse_upcycling_are_matched() -> None:
    def per_token(shape: LanguageModelShape) -> float:
        active = shape.parameters_active
        return train_flops_llm_foundry(active, num_layers=shape.num_layers, dim=shape.dim, seqlen=4096)

    routed, single = (replace(SMALL, num_experts=8, num_experts_per_token=chosen) for chosen in (2, 1))
    assert per_token(SMALL) / 1e9 == pytest.approx(3.108, abs=5e-4)
    assert per_token(routed) / 1e9 == pytest.approx(4.147, abs=5e-4)
    assert per_token(SMALL) / per_token(routed) == pytest.approx(0.7494, abs=5e-5)
    assert per_token(single) / per_token(SMALL) == pytest.approx(1.0003, abs=5e-5)
    assert per_token(MEDIUM) / 1e9 == pytest.approx(9.689, abs=5e-4)


def test_a_token_chooses_among_the_experts_that_there_are() -> None:
    with pytest.raises(ValueError, match="num_experts_per_token=9 must lie between 1 and num_experts=8"):
        replace(SMALL, num_experts=8, num_experts_per_token=9)
    with pytest.raises(ValueError, match="1 in a dense model"):
        replace(SMALL, num_experts_per_token=2)


def test_inference_is_a_third_of_training_over_the_same_context() -> None:
    shape = {"num_layers": 2, "dim": 15}
    assert inference_flops(1000, **shape, context_len=0) == 2000
    assert 3 * inference_flops(1000, **shape, context_len=7) == train_flops_llm_foundry(1000, **shape, seqlen=7)
    # Reading a prompt causally: token t attends to t tokens.
    one_by_one = [inference_flops(1000, **shape, context_len=t) for t in range(1, 11)]
    assert sum(one_by_one) == 10 * inference_flops(1000, **shape, context_len=5.5)


def test_weights_that_are_no_matrices_are_refused() -> None:
    class Experts(GatedLinearUnit):
        def __init__(self, dim: int) -> None:
            super().__init__(dim, hidden_dim=8)
            self.experts = nn.Parameter(torch.zeros(4, 8, dim))

    encoder = MosaicBert(100, dim=8, num_layers=1, num_heads=1, feedforward=Experts)
    with pytest.raises(ValueError, match=r"layers\.0\.feedforward\.experts is 3-dimensional"):
        flops_of_encoder(encoder, seqlen=8, head_fraction=1)


def test_cost_profile_of_mosaicbert_base() -> None:
    with torch.device("meta"):
        encoder = MosaicBert(30522)
    flops = flops_of_encoder(encoder, seqlen=128, head_fraction=0.3)
    assert round(flops.train / 1e6) == 737
    token_types = 2 * 768
    profile = encoder_cost_profile(encoder, seqlen=128, head_fraction=0.3)
    assert profile.unit == "token"
    assert profile.parameters_total == profile.parameters_trainable == 137_400_384
    assert profile.parameters_active == 137_400_384 - token_types
    assert profile.train_flops == flops.train
    assert profile.prefill_flops == profile.decode_flops == flops.forward
    assert profile.decode_weight_bytes == 4 * profile.parameters_active
    assert profile.law_use == "indicative"


def test_parameters_are_counted_once_and_by_kind() -> None:
    encoder = Bert(100, dim=16, num_layers=1, num_heads=2)
    encoder.head.requires_grad_(False)
    counts = count_parameters(encoder)
    assert counts.embedding == (100 + 2 + 512) * 16
    head = 16 * 16 + 16 + 2 * 16 + 100
    assert counts.total - counts.trainable == head
    block = 4 * (16 * 16 + 16) + (16 * 64 + 64) + (64 * 16 + 16) + 4 * 16
    assert counts.total == counts.embedding + 2 * 16 + block + head


def test_conventions() -> None:
    assert train_flops_6n(7_000_000_000) == 42e9
    assert train_flops_palm(1000, num_layers=2, num_heads=3, head_dim=5, seqlen=7) == 6000 + 12 * 2 * 3 * 5 * 7
    assert train_flops_llm_foundry(1000, num_layers=2, dim=15, seqlen=7) == 3 * (2 * 1000 + 4 * 2 * 15 * 7)


@pytest.mark.parametrize(
    ("name", "arithmetic", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16", 989),
        ("NVIDIA H100 PCIe", "bf16", 756),
        ("NVIDIA H100 NVL", "fp16", 835.5),
        ("NVIDIA H200", "tf32", 494.7),
        ("NVIDIA A100-SXM4-80GB", "bf16", 312),
        ("NVIDIA A10", "bf16", 125),
        ("NVIDIA L4", "bf16", 121),
        ("NVIDIA L40S", "bf16", 362),
        ("NVIDIA GeForce RTX 4090", "bf16", 165.2),
        ("Tesla V100-SXM2-16GB", "fp16", 125),
    ],
)
def test_peaks_by_name(name: str, arithmetic: str, tflops: float) -> None:
    assert named_peak_flops_per_s(name, arithmetic) == pytest.approx(tflops * 1e12)


@pytest.mark.parametrize(
    "name",
    ["NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe", "NVIDIA H200", "NVIDIA L4", "NVIDIA L40S"],
)
def test_meter_and_cost_report_know_the_same_peaks(name: str) -> None:
    hardware = recognise(name)
    assert hardware is not None
    assert named_peak_flops_per_s(name, "bf16") == hardware.peak("bf16")


@pytest.mark.parametrize(
    ("name", "arithmetic"),
    [
        ("NVIDIA Imaginary 9000", "bf16"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "bf16"),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "bf16"),
        ("Tesla T4", "bf16"),
        ("NVIDIA H100 PCIe", "64-true"),
    ],
)
def test_no_peak_is_better_than_a_wrong_one(name: str, arithmetic: str) -> None:
    assert named_peak_flops_per_s(name, arithmetic) is None


@pytest.mark.parametrize(
    ("precision", "tflops"), [("bf16-mixed", 989), ("16-true", 989), ("32-true", 67), ("transformer-engine", None)]
)
def test_precision_of_lightning_chooses_the_peak(
    precision: str, tflops: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    peak = peak_flops_per_s(torch.device("cuda"), precision)
    assert peak == (None if tflops is None else pytest.approx(tflops * 1e12))
    assert peak_flops_per_s(torch.device("cpu"), precision) is None

"""Every attention backend that runs on a CPU against a formula written out here, and who serves what."""

import logging
import sys
from itertools import accumulate
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from modules import layers
from modules.kernels import ragged_attention
from modules.layers import Attention, AutoAttention, ReferenceAttention, SdpaAttention, alibi_slopes
from modules.layers.attention import Workload
from modules.layers.attention.auto import choose_attention

# T tokens of all documents and the filler behind them, H heads, C channels per head

LENGTHS = [0, 1, 2, 7, 0, 17, 64, 128, 0]
NUM_REAL, NUM_FILLER = sum(LENGTHS), 13
CU_SEQLENS = torch.tensor([0, *accumulate(LENGTHS)], dtype=torch.int32)
CPU_BACKENDS = [ReferenceAttention, SdpaAttention, AutoAttention]


def packed_qkv(num_heads: int = 12, dtype: torch.dtype = torch.float64, channels: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (NUM_REAL + NUM_FILLER, 3, num_heads, channels)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def run(attention: Attention, qkv: Tensor, slopes_H: Tensor | None) -> tuple[Tensor, Tensor]:
    """Output and gradient, the output weighted by fixed random numbers, filler included."""
    qkv = qkv.detach().requires_grad_()
    out = attention(*qkv.unbind(1), CU_SEQLENS, 128, slopes_H=slopes_H)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (out * weight.to(out.dtype)).sum().backward()
    assert qkv.grad is not None
    return out.detach(), qkv.grad


def test_reference_is_the_formula_of_the_paper() -> None:
    qkv, slopes_H = packed_qkv(), alibi_slopes(12)
    out = ReferenceAttention()(*qkv.unbind(1), CU_SEQLENS, 128, slopes_H=slopes_H)
    start = int(CU_SEQLENS[5])  # the document of 17 tokens
    for head, i in ((0, 0), (8, 3), (11, 16)):
        q, k, v = (qkv[start : start + 17, part, head] for part in range(3))
        scores = [float(q[i] @ k[j]) / 8**0.5 - float(slopes_H[head]) * abs(i - j) for j in range(17)]
        expected = torch.tensor(scores, dtype=torch.float64).softmax(0) @ v
        torch.testing.assert_close(out[start + i, head], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("with_slopes", [True, False])
@pytest.mark.parametrize("num_heads", [12, 16])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-5)])
@pytest.mark.parametrize("kind", [SdpaAttention, AutoAttention])
def test_backends_equal_the_reference(
    kind: type[Attention], dtype: torch.dtype, tolerance: float, num_heads: int, with_slopes: bool
) -> None:
    slopes_H = alibi_slopes(num_heads) if with_slopes else None
    truth = run(ReferenceAttention(), packed_qkv(num_heads), slopes_H)
    ours = run(kind(), packed_qkv(num_heads, dtype), slopes_H)
    for x_true, x_ours in zip(truth, ours, strict=True):
        assert (x_ours - x_true).abs().max() < tolerance * x_true.abs().max()


@pytest.mark.parametrize("seqlen", [1, 7, 64, 127, 128, 129, 512])
def test_sdpa_equals_the_reference_at_every_length(seqlen: int) -> None:
    cu_seqlens = torch.tensor([0, seqlen, seqlen + seqlen // 2], dtype=torch.int32)
    qkv = torch.randn(seqlen + seqlen // 2, 3, 3, 4, dtype=torch.float64)
    truth = ragged_attention(*qkv.unbind(1), cu_seqlens, slopes_H=alibi_slopes(3))
    out = SdpaAttention()(*qkv.unbind(1), cu_seqlens, seqlen, slopes_H=alibi_slopes(3))
    torch.testing.assert_close(out, truth, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", CPU_BACKENDS)
def test_filler_neither_gives_nor_receives(kind: type[Attention]) -> None:
    qkv = packed_qkv()
    qkv[NUM_REAL:] = float("nan")
    out, grad = run(kind(), qkv, alibi_slopes(12))
    assert out.isfinite().all()
    assert torch.equal(out[NUM_REAL:], torch.zeros_like(out[NUM_REAL:]))
    assert grad[:NUM_REAL].isfinite().all()
    assert torch.equal(grad[NUM_REAL:], torch.zeros_like(grad[NUM_REAL:]))


@pytest.mark.parametrize("kind", CPU_BACKENDS)
def test_documents_never_see_each_other(kind: type[Attention]) -> None:
    qkv, changed = packed_qkv(), packed_qkv()
    start, end = int(CU_SEQLENS[6]), int(CU_SEQLENS[7])
    changed[start:end] += 100
    slopes_H = alibi_slopes(12)
    before, after = (kind()(*x.unbind(1), CU_SEQLENS, 128, slopes_H=slopes_H) for x in (qkv, changed))
    others = torch.ones(len(qkv), dtype=torch.bool)
    others[start:end] = False
    assert torch.equal(before[others], after[others])
    assert not torch.equal(before[start:end], after[start:end])

    qkv.requires_grad_()
    kind()(*qkv.unbind(1), CU_SEQLENS, 128, slopes_H=slopes_H)[start:end].sum().backward()
    assert qkv.grad is not None
    assert not qkv.grad[others].any()


@pytest.mark.parametrize("kind", CPU_BACKENDS)
def test_gradients_are_right(kind: type[Attention]) -> None:
    cu_seqlens = torch.tensor([0, 2, 2, 5], dtype=torch.int32)
    qkv = torch.randn(6, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    attention, slopes_H = kind(), alibi_slopes(2)
    assert torch.autograd.gradcheck(lambda x: attention(*x.unbind(1), cu_seqlens, 4, slopes_H=slopes_H), qkv)


@pytest.mark.parametrize("kind", CPU_BACKENDS)
def test_dropout_keeps_the_mean_and_drops_the_stated_share(kind: type[Attention]) -> None:
    torch.manual_seed(0)
    length, dropout = 16, 0.25
    cu_seqlens = torch.arange(0, 501) * length
    q_THC = torch.zeros(500 * length, 1, length)  # equal scores: every probability is 1 / length
    v_THC = torch.eye(length).repeat(500, 1).unsqueeze(1)  # so the output shows the probabilities themselves
    probs = kind()(q_THC, q_THC, v_THC, cu_seqlens.int(), length, dropout=dropout) * length
    dropped = (probs == 0).float().mean().item()
    assert dropped == pytest.approx(dropout, abs=0.005)  # 128k draws: 4 sigma
    torch.testing.assert_close(probs[probs != 0].unique(), torch.tensor([1 / (1 - dropout)]))


@pytest.mark.parametrize("kind", [SdpaAttention, AutoAttention])
def test_compiles_without_a_graph_break(kind: type[Attention]) -> None:
    attention, slopes_H, qkv = kind(), alibi_slopes(4), packed_qkv(4).requires_grad_()

    @torch.compile(fullgraph=True, backend="aot_eager")
    def attend(qkv: Tensor) -> Tensor:
        return attention(*qkv.unbind(1), CU_SEQLENS, 128, slopes_H=slopes_H)

    truth = ragged_attention(*qkv.unbind(1), CU_SEQLENS, slopes_H=slopes_H)
    (gradient,) = torch.autograd.grad(attend(qkv).square().sum(), qkv)
    torch.testing.assert_close(attend(qkv), truth, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradient, torch.autograd.grad(truth.square().sum(), qkv)[0], rtol=1e-10, atol=1e-10)


def test_auto_compiles_without_a_graph_break_when_lengths_change() -> None:
    attention, cu_seqlens = AutoAttention(), torch.tensor([0, 5, 5, 16], dtype=torch.int32)

    @torch.compile(fullgraph=True, backend="eager")
    def attend(qkv: Tensor, max_seqlen: int) -> Tensor:
        return attention(*qkv.unbind(1), cu_seqlens, max_seqlen)

    for max_seqlen, num_tokens in ((11, 24), (20, 40), (32, 56), (64, 64)):
        qkv = torch.randn(num_tokens, 3, 2, 8)
        torch.testing.assert_close(attend(qkv, max_seqlen), ragged_attention(*qkv.unbind(1), cu_seqlens))


def test_flex_equals_the_reference_in_a_forward_pass() -> None:
    attention, qkv, slopes_H = layers.FlexAttention(), packed_qkv(3, torch.float32, channels=16), alibi_slopes(3)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def attend(qkv: Tensor) -> Tensor:
        return attention.attend(*qkv.unbind(1), CU_SEQLENS, 128, slopes_H, 0.0)

    truth = ragged_attention(*qkv.unbind(1), CU_SEQLENS, slopes_H=slopes_H)
    torch.testing.assert_close(attend(qkv), truth)


def test_flash_is_called_as_it_documents_and_its_garbage_is_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    def flash_attn_varlen_func(q, k, v, cu_q, cu_k, max_q, max_k, *, alibi_slopes):  # type: ignore[no-untyped-def]
        assert (cu_q.dtype, max_q, max_k, alibi_slopes.dtype) == (torch.int32, 128, 128, torch.float32)
        assert torch.equal(cu_q, cu_k)
        real = ragged_attention(q[:NUM_REAL], k[:NUM_REAL], v[:NUM_REAL], cu_q, slopes_H=alibi_slopes)
        return torch.cat([real, q[NUM_REAL:] * float("nan")])  # garbage in the output, and in the gradient of q

    monkeypatch.setitem(sys.modules, "flash_attn", SimpleNamespace(flash_attn_varlen_func=flash_attn_varlen_func))
    attention = layers.FlashVarlenAttention()
    monkeypatch.setattr(attention, "refusal", lambda workload: None)
    truth, ours = (run(kind, packed_qkv(), alibi_slopes(12)) for kind in (ReferenceAttention(), attention))
    assert torch.equal(truth[0], ours[0])
    assert torch.equal(truth[1], ours[1])


@pytest.mark.parametrize("name", ["TritonShortAttention", "FlashVarlenAttention", "FlexAttention"])
def test_refusals_are_no_graph_break(name: str) -> None:
    attention = getattr(layers, name)()

    @torch.compile(fullgraph=True, backend="eager")
    def refusal(dropout: float) -> str | None:
        return attention.refusal(Workload("cuda", torch.bfloat16, 64, 128, dropout))

    assert refusal(0.1) == attention.refusal(gpu_workload(dropout=0.1)) is not None


@pytest.mark.parametrize("name", ["TritonShortAttention", "FlashVarlenAttention", "FlexAttention"])
def test_gpu_backends_say_why_they_do_not_run_on_a_cpu(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} cannot serve this call: .* cuda.*not on cpu; use .*AutoAttention"):
        getattr(layers, name)()(*packed_qkv(2).unbind(1), CU_SEQLENS, 128)


def gpu_workload(
    max_seqlen: int = 128, head_dim: int = 64, dropout: float = 0.0, dtype: torch.dtype = torch.bfloat16
) -> Workload:
    return Workload("cuda", dtype, head_dim, max_seqlen, dropout)


@pytest.mark.parametrize(
    ("workload", "reason"),
    [
        (gpu_workload(max_seqlen=129), "max_seqlen=129 exceeds the 128 tokens of one tile"),
        (gpu_workload(head_dim=80), "head_dim=80 is none of (16, 32, 64, 128)"),
        (gpu_workload(dtype=torch.float32), "torch.float32 is none of (torch.float16, torch.bfloat16)"),
        (gpu_workload(dropout=0.1), "attention dropout 0.1 is left to SdpaAttention and ReferenceAttention"),
    ],
)
def test_short_kernel_names_the_reason_of_a_refusal(workload: Workload, reason: str) -> None:
    pytest.importorskip("triton")
    assert layers.TritonShortAttention().refusal(gpu_workload()) is None
    assert layers.TritonShortAttention().refusal(workload) == reason


def test_flash_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modules.layers.attention.flash._IS_INSTALLED", False)
    reason = layers.FlashVarlenAttention().refusal(gpu_workload(512))
    assert reason is not None
    assert 'pip install -e ".[flash]"' in reason


@pytest.mark.parametrize(
    ("workload", "flash_installed", "choice"),
    [
        (gpu_workload(128), False, "TritonShortAttention"),
        (gpu_workload(512), True, "FlashVarlenAttention"),
        (gpu_workload(512), False, "FlexAttention"),
        (gpu_workload(128, dtype=torch.float32), True, "FlexAttention"),
        (gpu_workload(128, dropout=0.1), True, "SdpaAttention"),
        (Workload("cpu", torch.float32, 64, 128, 0.0), True, "SdpaAttention"),
    ],
)
def test_auto_takes_the_fastest_that_serves(
    workload: Workload, flash_installed: bool, choice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton")
    monkeypatch.setattr("modules.layers.attention.flash._IS_INSTALLED", flash_installed)
    kind, refusals = choose_attention(workload)
    assert kind.__name__ == choice
    assert all(refusals.values())
    assert choice not in refusals


def test_auto_announces_its_choice_once_and_a_fallback_as_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    from modules.layers.attention.auto import _announce

    caplog.set_level(logging.INFO, logger="modules.layers.attention.auto")
    _announce.cache_clear()
    for _ in range(3):
        _announce(Workload("cpu", torch.float32, 64, 128, 0.0))
    assert [(r.levelname, "SdpaAttention" in r.message) for r in caplog.records] == [("INFO", True)]
    _announce(gpu_workload(dropout=0.1))
    assert caplog.records[-1].levelname == "WARNING"
    assert "attention dropout 0.1 is left to" in caplog.records[-1].message


@pytest.mark.gpu
@pytest.mark.parametrize("num_heads", [12, 16])
@pytest.mark.parametrize("seqlen", [1, 7, 64, 127, 128, 129, 512])
@pytest.mark.parametrize("name", ["SdpaAttention", "TritonShortAttention", "FlashVarlenAttention", "FlexAttention"])
def test_error_on_gpu_is_at_most_twice_that_of_eager(name: str, seqlen: int, num_heads: int) -> None:
    attention = getattr(layers, name)()
    if (why := attention.refusal(gpu_workload(seqlen))) is not None:
        pytest.skip(why)
    torch.manual_seed(0)
    lengths = [seqlen, 0, max(1, seqlen // 2), seqlen]
    cu_seqlens = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device="cuda")
    qkv = torch.randn(sum(lengths) + 21, 3, num_heads, 64, device="cuda").bfloat16()
    weight = torch.randn(len(qkv), num_heads, 64, device="cuda").bfloat16()

    def run_on_gpu(attention: Attention, qkv: Tensor) -> tuple[Tensor, Tensor]:
        qkv = qkv.detach().requires_grad_()
        out = attention(*qkv.unbind(1), cu_seqlens, seqlen, slopes_H=alibi_slopes(num_heads).cuda())
        (out * weight.to(out.dtype)).sum().backward()
        assert qkv.grad is not None
        return out.detach().double(), qkv.grad.double()

    truth, eager = run_on_gpu(ReferenceAttention(), qkv.double()), run_on_gpu(ReferenceAttention(), qkv)
    for x_true, x_eager, x_ours in zip(truth, eager, run_on_gpu(attention, qkv), strict=True):
        assert (x_ours - x_true).abs().max() <= 2 * (x_eager - x_true).abs().max() + 1e-6
        assert not x_ours[sum(lengths) :].any()


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["SdpaAttention", "TritonShortAttention", "FlexAttention", "AutoAttention"])
def test_gpu_backends_never_wait_for_the_device(name: str) -> None:
    attention, slopes_H = getattr(layers, name)(), alibi_slopes(12).cuda()
    qkv, cu_seqlens = packed_qkv(12, torch.bfloat16, 64).cuda().requires_grad_(), CU_SEQLENS.cuda()
    attention(*qkv.unbind(1), cu_seqlens, 128, slopes_H=slopes_H).sum().backward()  # compiles
    torch.cuda.set_sync_debug_mode("error")
    try:
        attention(*qkv.unbind(1), cu_seqlens, 128, slopes_H=slopes_H).sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert qkv.grad is not None
    assert qkv.grad.isfinite().all()

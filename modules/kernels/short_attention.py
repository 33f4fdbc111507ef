"""Attention over short ragged documents in Triton: one program holds one document and one head in a single tile.

Documents of at most 128 tokens need no online softmax. A program loads q, k and v once; its backward pass recomputes
the probabilities from the saved log-sum-exp and writes dq, dk and dv of its own document, without atomics. Nothing is
padded in memory. Must equal `modules.kernels.ragged_attention`. Importing this file imports triton.

Letters: T tokens of all documents and the filler behind them, B documents, H heads, C channels per head.
"""
# Triton gives the annotations of a kernel a meaning of its own.
# mypy: disable-error-code="no-untyped-def"

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

MAX_SEQLEN = 128
"""Longest document, in tokens."""

HEAD_DIMS = (16, 32, 64, 128)
"""Channels per head that fill a tile without remainder."""

DTYPES = (torch.float16, torch.bfloat16)
"""Types of q, k and v on a GPU: float32 tiles of 128 tokens overflow its registers. The interpreter takes float32."""

_LOG2_E = tl.constexpr(1.4426950408889634)  # scores are kept in units of log 2, because a GPU computes exp through exp2


def short_attention(
    q_THC: Tensor,
    k_THC: Tensor,
    v_THC: Tensor,
    cu_seqlens: Tensor,
    max_seqlen: int,
    *,
    slopes_H: Tensor | None = None,
) -> Tensor:
    """`modules.kernels.ragged_attention` for documents of at most 128 tokens; compiles without a graph break.

    Args:
        q_THC: Queries, float16 or bfloat16; q, k and v may be strided views of one packed [T, 3, H, C].
        k_THC: Keys.
        v_THC: Values.
        cu_seqlens: int32[B+1], where each document starts; documents may be empty, T may exceed the last entry.
        max_seqlen: Upper bound of the document lengths, in tokens; what exceeds it is not attended to.
        slopes_H: ALiBi slope of each head, fp32, without gradient; None for no bias.

    Returns:
        out_THC, exactly zero past `cu_seqlens[-1]`, where the gradients are exactly zero too.

    Raises:
        ValueError: `max_seqlen`, the number of channels or the dtype does not fit a tile.
    """
    if max_seqlen > MAX_SEQLEN:
        raise ValueError(f"max_seqlen={max_seqlen} must be <= {MAX_SEQLEN} for the one-tile kernel")
    if q_THC.shape[-1] not in HEAD_DIMS:
        raise ValueError(f"head_dim={q_THC.shape[-1]} must be one of {HEAD_DIMS} for the one-tile kernel")
    if q_THC.is_cuda and q_THC.dtype not in DTYPES:
        raise ValueError(f"dtype={q_THC.dtype} must be one of {DTYPES} for the one-tile kernel")
    return _forward_op(q_THC, k_THC, v_THC, cu_seqlens, slopes_H, max_seqlen)[0]


# The kernels


@triton.jit
def _rows(start, BLOCK_S: tl.constexpr):
    return tl.arange(0, BLOCK_S)[:, None].to(tl.int64) + start


@triton.jit
def _load(x, start, length, head, stride_t, stride_h, C: tl.constexpr, BLOCK_S: tl.constexpr):
    """The tile of one document and head of a strided [T, H, C]; zero past the document."""
    channel = tl.arange(0, C)[None, :]
    pointers = x + _rows(start, BLOCK_S) * stride_t + head * stride_h + channel
    return tl.load(pointers, mask=tl.arange(0, BLOCK_S)[:, None] < length, other=0.0)


@triton.jit
def _store(x, tile, start, length, head, NUM_HEADS: tl.constexpr, C: tl.constexpr, BLOCK_S: tl.constexpr):
    """Writes the tile of one document and head into a contiguous [T, H, C]."""
    channel = tl.arange(0, C)[None, :]
    pointers = x + (_rows(start, BLOCK_S) * NUM_HEADS + head) * C + channel
    tl.store(pointers, tile.to(x.dtype.element_ty), mask=tl.arange(0, BLOCK_S)[:, None] < length)


@triton.jit
def _store_zeros(
    x, start, num_tokens, num_documents, head, NUM_HEADS: tl.constexpr, C: tl.constexpr, BLOCK_S: tl.constexpr
):
    """Zeros the filler of a contiguous [T, H, C] from `start` on, together with the programs of the other documents."""
    zeros = tl.zeros([BLOCK_S, C], tl.float32)
    for first in range(start, num_tokens, num_documents * BLOCK_S):
        _store(x, zeros, first, num_tokens - first, head, NUM_HEADS, C, BLOCK_S)


@triton.jit
def _scores(q, k, slopes, head, length, scale, HAS_SLOPES: tl.constexpr, BLOCK_S: tl.constexpr):
    """Scaled and biased scores of one tile, fp32, in units of log 2; -inf where the key lies past the document."""
    scores = tl.dot(q, tl.trans(k)) * (scale * _LOG2_E)
    query = tl.arange(0, BLOCK_S)[:, None]
    key = tl.arange(0, BLOCK_S)[None, :]
    if HAS_SLOPES:
        scores -= tl.load(slopes + head) * _LOG2_E * tl.abs(query - key).to(tl.float32)
    return tl.where(key < length, scores, float("-inf"))


@triton.jit
def _forward_kernel(
    q, k, v, out, lse, cu_seqlens, slopes, q_t, q_h, k_t, k_h, v_t, v_h, num_tokens, num_documents, scale,
    HAS_SLOPES: tl.constexpr, NUM_HEADS: tl.constexpr, C: tl.constexpr, BLOCK_S: tl.constexpr,
):  # fmt: skip
    document = tl.program_id(0) // NUM_HEADS
    head = tl.program_id(0) % NUM_HEADS
    start = tl.load(cu_seqlens + document)
    length = tl.load(cu_seqlens + document + 1) - start
    if length > 0:
        q_tile = _load(q, start, length, head, q_t, q_h, C, BLOCK_S)
        k_tile = _load(k, start, length, head, k_t, k_h, C, BLOCK_S)
        v_tile = _load(v, start, length, head, v_t, v_h, C, BLOCK_S)
        scores = _scores(q_tile, k_tile, slopes, head, length, scale, HAS_SLOPES, BLOCK_S)
        highest = tl.max(scores, 1)
        weights = tl.exp2(scores - highest[:, None])
        total = tl.sum(weights, 1)
        out_tile = tl.dot(weights.to(v_tile.dtype), v_tile) / total[:, None]
        _store(out, out_tile, start, length, head, NUM_HEADS, C, BLOCK_S)
        row = tl.arange(0, BLOCK_S)
        pointers = lse + head.to(tl.int64) * num_tokens + start + row
        tl.store(pointers, highest + tl.log2(total), mask=row < length)
    filler = tl.load(cu_seqlens + num_documents) + document * BLOCK_S
    _store_zeros(out, filler, num_tokens, num_documents, head, NUM_HEADS, C, BLOCK_S)


@triton.jit
def _backward_kernel(
    q, k, v, dout, dq, dk, dv, lse, cu_seqlens, slopes, q_t, q_h, k_t, k_h, v_t, v_h, do_t, do_h,
    num_tokens, num_documents, scale,
    HAS_SLOPES: tl.constexpr, NUM_HEADS: tl.constexpr, C: tl.constexpr, BLOCK_S: tl.constexpr,
):  # fmt: skip
    document = tl.program_id(0) // NUM_HEADS
    head = tl.program_id(0) % NUM_HEADS
    start = tl.load(cu_seqlens + document)
    length = tl.load(cu_seqlens + document + 1) - start
    if length > 0:
        q_tile = _load(q, start, length, head, q_t, q_h, C, BLOCK_S)
        k_tile = _load(k, start, length, head, k_t, k_h, C, BLOCK_S)
        v_tile = _load(v, start, length, head, v_t, v_h, C, BLOCK_S)
        do_tile = _load(dout, start, length, head, do_t, do_h, C, BLOCK_S)
        row = tl.arange(0, BLOCK_S)
        pointers = lse + head.to(tl.int64) * num_tokens + start + row
        lse_row = tl.load(pointers, mask=row < length, other=float("inf"))  # rows past the document: probability 0
        scores = _scores(q_tile, k_tile, slopes, head, length, scale, HAS_SLOPES, BLOCK_S)
        probs = tl.exp2(scores - lse_row[:, None])
        dv_tile = tl.dot(tl.trans(probs.to(do_tile.dtype)), do_tile)
        _store(dv, dv_tile, start, length, head, NUM_HEADS, C, BLOCK_S)
        dprobs = tl.dot(do_tile, tl.trans(v_tile))
        # The whole row is in the tile: the softmax needs no saved output to subtract its mean gradient.
        dscores = (probs * (dprobs - tl.sum(probs * dprobs, 1)[:, None])).to(q_tile.dtype)
        dq_tile = tl.dot(dscores, k_tile) * scale
        _store(dq, dq_tile, start, length, head, NUM_HEADS, C, BLOCK_S)
        dk_tile = tl.dot(tl.trans(dscores), q_tile) * scale
        _store(dk, dk_tile, start, length, head, NUM_HEADS, C, BLOCK_S)
    filler = tl.load(cu_seqlens + num_documents) + document * BLOCK_S
    _store_zeros(dq, filler, num_tokens, num_documents, head, NUM_HEADS, C, BLOCK_S)
    _store_zeros(dk, filler, num_tokens, num_documents, head, NUM_HEADS, C, BLOCK_S)
    _store_zeros(dv, filler, num_tokens, num_documents, head, NUM_HEADS, C, BLOCK_S)


# The operators


@torch.library.custom_op("galley::short_attention", mutates_args=())
def _forward_op(
    q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor, slopes: Tensor | None, max_seqlen: int
) -> tuple[Tensor, Tensor]:
    q, k, v = (_with_dense_channels(x) for x in (q, k, v))
    out, lse = _outputs(q)
    if out.numel() and cu_seqlens.shape[0] > 1:
        _launch(_forward_kernel, (q, k, v), (out, lse), cu_seqlens, slopes, max_seqlen)
    else:
        out.zero_()
    return out, lse


@torch.library.custom_op("galley::short_attention_backward", mutates_args=())
def _backward_op(
    dout: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lse: Tensor,
    cu_seqlens: Tensor,
    slopes: Tensor | None,
    max_seqlen: int,
) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v, dout = (_with_dense_channels(x) for x in (q, k, v, dout))
    dq, dk, dv = (_contiguous_like(q) for _ in range(3))
    if dq.numel() and cu_seqlens.shape[0] > 1:
        _launch(_backward_kernel, (q, k, v, dout), (dq, dk, dv, lse), cu_seqlens, slopes, max_seqlen)
    else:
        for grad in (dq, dk, dv):
            grad.zero_()
    return dq, dk, dv


def _launch(
    kernel: Any,
    strided: tuple[Tensor, ...],
    contiguous: tuple[Tensor, ...],
    cu_seqlens: Tensor,
    slopes: Tensor | None,
    max_seqlen: int,
) -> None:
    num_tokens, num_heads, num_channels = strided[0].shape
    num_documents = cu_seqlens.shape[0] - 1
    block = max(16, triton.next_power_of_2(max_seqlen))
    strides = [stride for x in strided for stride in x.stride()[:2]]
    with torch.cuda.device_of(strided[0]):
        kernel[(num_documents * num_heads,)](
            *strided, *contiguous, cu_seqlens, slopes, *strides, num_tokens, num_documents, num_channels**-0.5,
            HAS_SLOPES=slopes is not None, NUM_HEADS=num_heads, C=num_channels, BLOCK_S=block,
            num_warps=block // 16,  # each warp has 16 rows of the tile, the height of one tensor-core instruction
            num_stages=1,  # there is no loop to pipeline
        )  # fmt: skip


def _with_dense_channels(x: Tensor) -> Tensor:
    return x if x.stride(-1) == 1 else x.contiguous()


def _contiguous_like(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _outputs(q: Tensor) -> tuple[Tensor, Tensor]:
    return _contiguous_like(q), q.new_zeros(q.shape[1], q.shape[0], dtype=torch.float32)


@_forward_op.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor, slopes: Tensor | None, max_seqlen: int) -> Any:
    return _outputs(q)


@_backward_op.register_fake
def _(
    dout: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lse: Tensor,
    cu_seqlens: Tensor,
    slopes: Tensor | None,
    max_seqlen: int,
) -> Any:
    return tuple(_contiguous_like(q) for _ in range(3))


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, cu_seqlens, slopes, ctx.max_seqlen = inputs
    ctx.save_for_backward(q, k, v, output[1], cu_seqlens, slopes)
    ctx.mark_non_differentiable(output[1])


def _differentiate(ctx: Any, dout: Tensor, _dlse: Tensor | None) -> tuple[Tensor | None, ...]:
    dq, dk, dv = _backward_op(dout, *ctx.saved_tensors, ctx.max_seqlen)
    return dq, dk, dv, None, None, None


_forward_op.register_autograd(_differentiate, setup_context=_save)

"""Runs the one-tile kernel in Triton's interpreter and prints its errors against the fp64 reference, as JSON.

A program of its own, because TRITON_INTERPRET must be set before triton is imported.
"""

import json
import sys
from itertools import accumulate

import torch
from torch import Tensor

from modules.kernels import ragged_attention
from modules.kernels.short_attention import _backward_op, _forward_op, short_attention
from modules.layers import alibi_slopes

CASES: dict[str, dict[str, object]] = {
    "all lengths": {"lengths": [0, 1, 2, 7, 17, 64, 127, 128, 0], "filler": 37, "heads": 3, "channels": 16},
    "12 heads": {"lengths": [0, 1, 2, 7, 17, 0], "filler": 100, "heads": 12, "channels": 32},
    "one block exactly": {"lengths": [5, 16, 3], "filler": 0, "heads": 2, "channels": 64, "slopes": False},
    "64 channels": {"lengths": [64, 33], "filler": 1, "heads": 12, "channels": 64},
    "128 channels": {"lengths": [17, 32], "filler": 5, "heads": 1, "channels": 128},
    "empty documents alone": {"lengths": [0, 0], "filler": 20, "heads": 2, "channels": 16},
    "no token": {"lengths": [0], "filler": 0, "heads": 2, "channels": 16},
}


def measure(lengths: list[int], filler: int, heads: int, channels: int, slopes: bool = True) -> dict[str, float]:
    """Largest absolute errors of output and gradients, and the largest value the filler holds or receives."""
    torch.manual_seed(0)
    cu_seqlens = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
    num_tokens = sum(lengths) + filler
    slopes_H = alibi_slopes(heads) if slopes else None
    qkv = torch.randn(num_tokens, 3, heads, channels, dtype=torch.float64)
    weight = torch.randn(num_tokens, heads, channels, dtype=torch.float64)

    def run(qkv: Tensor, kernel: object, *args: int) -> tuple[Tensor, Tensor]:
        qkv = qkv.detach().requires_grad_()
        out = kernel(*qkv.unbind(1), cu_seqlens, *args, slopes_H=slopes_H)  # type: ignore[operator]
        (out * weight.to(out.dtype)).sum().backward()
        assert qkv.grad is not None
        return out.detach(), qkv.grad

    truth, truth_grad = run(qkv, ragged_attention)
    out, grad = run(qkv.float(), short_attention, max(lengths, default=1))
    names = ("dq", "dk", "dv")
    errors = {"out": _largest(out - truth)}
    errors |= {name: _largest(grad[:, i] - truth_grad[:, i]) for i, name in enumerate(names)}
    return errors | {"filler": max(_largest(x[sum(lengths) :]) for x in (out, grad)), "scale": _largest(truth_grad)}


def check_operators() -> dict[str, float]:
    """Failures among torch's own checks of a custom operator: schema, gradients, fake tensors, tracing."""
    cu_seqlens = torch.tensor([0, 5, 5, 20], dtype=torch.int32)
    q, k, v = (x.detach().requires_grad_() for x in torch.randn(24, 3, 2, 16).unbind(1))
    forward = (q, k, v, cu_seqlens, alibi_slopes(2), 16)
    out, lse = (x.detach() for x in _forward_op(*forward))
    backward = (torch.randn_like(out), q.detach(), k.detach(), v.detach(), lse, cu_seqlens, None, 16)
    checks = torch.library.opcheck(_forward_op, forward) | torch.library.opcheck(_backward_op, backward)
    return {name: float(outcome != "SUCCESS") for name, outcome in checks.items()}


def _largest(x: Tensor) -> float:
    return x.abs().max().item() if x.numel() else 0.0


if __name__ == "__main__":
    errors = {name: measure(**case) for name, case in CASES.items()}  # type: ignore[arg-type]
    json.dump(errors | {"operators": check_operators()}, sys.stdout)

"""The one-tile Triton kernel: right in the interpreter, compiled for GPUs without one, and right on a real one."""

import json
import os
import re
import subprocess
import sys
import tempfile
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from modules.kernels import ragged_attention
from modules.layers import alibi_slopes

triton = pytest.importorskip("triton")

INTERPRETED = Path(__file__).with_name("interpreted_short_attention.py")


@pytest.fixture(scope="module")
def interpreted() -> dict[str, dict[str, float]]:
    """Errors against fp64 by case, measured in a process of its own."""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(INTERPRETED)]
    result = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    "case",
    [
        "all lengths",
        "12 heads",
        "one block exactly",
        "64 channels",
        "128 channels",
        "empty documents alone",
        "no token",
    ],
)
def test_kernel_equals_the_reference_in_the_interpreter(interpreted: dict[str, dict[str, float]], case: str) -> None:
    errors = interpreted[case]
    assert errors["filler"] == 0.0
    for name in ("out", "dq", "dk", "dv"):
        assert errors[name] < 3e-6, name


def test_operators_pass_the_checks_of_torch(interpreted: dict[str, dict[str, float]]) -> None:
    assert set(interpreted["operators"]) > {"test_schema", "test_faketensor", "test_aot_dispatch_dynamic"}
    assert not any(interpreted["operators"].values())


@pytest.mark.parametrize("name", ["_forward_kernel", "_backward_kernel"])
def test_kernel_compiles_for_an_h100_without_spilling(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    compiled = _compile(name, capability=90, block=128)
    assert compiled.metadata.shared <= 227 * 1024 // 2  # two programs fit one multiprocessor
    assert "wgmma" in compiled.asm["ptx"]
    report = _assembler_report(compiled.asm["ptx"])
    assert "0 bytes spill stores, 0 bytes spill loads" in report, report


@pytest.mark.parametrize("name", ["_forward_kernel", "_backward_kernel"])
def test_kernel_compiles_for_an_a100(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    compiled = _compile(name, capability=80, block=64)
    assert compiled.metadata.shared <= 164 * 1024 // 2
    assert "mma.sync" in compiled.asm["ptx"]


def _compile(name: str, *, capability: int, block: int) -> Any:
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from modules.kernels import short_attention

    kernel = getattr(short_attention, name)
    constants = {"HAS_SLOPES": True, "NUM_HEADS": 12, "C": 64, "BLOCK_S": block}
    types = {"cu_seqlens": "*i32", "slopes": "*fp32", "lse": "*fp32", "scale": "fp32"}
    types |= dict.fromkeys(("q", "k", "v", "out", "dout", "dq", "dk", "dv"), "*bf16")
    signature = {arg: "constexpr" if arg in constants else types.get(arg, "i32") for arg in kernel.arg_names}
    position = {arg: index for index, arg in enumerate(kernel.arg_names)}
    multiples_of_16 = [arg for arg in signature if arg not in (*constants, "num_documents", "scale")]
    source = ASTSource(
        kernel,
        signature,
        {(position[arg],): value for arg, value in constants.items()},
        {(position[arg],): [["tt.divisibility", 16]] for arg in multiples_of_16},
    )
    options = {"num_warps": block // 16, "num_stages": 1}
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


def _assembler_report(ptx: str) -> str:
    target = re.search(r"\.target (\w+)", ptx)
    assert target is not None
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        command = [triton.knobs.nvidia.ptxas.path, "-v", f"-arch={target[1]}", file.name, "-o", os.devnull]
        return subprocess.run(command, capture_output=True, text=True, check=True).stderr


def test_documents_and_heads_that_fit_no_tile_are_refused() -> None:
    from modules.kernels.short_attention import short_attention

    cu_seqlens = torch.tensor([0, 4], dtype=torch.int32)
    x = torch.zeros(4, 2, 64)
    with pytest.raises(ValueError, match="max_seqlen=129 must be <= 128"):
        short_attention(x, x, x, cu_seqlens, 129)
    x = torch.zeros(4, 2, 48)
    with pytest.raises(ValueError, match="head_dim=48"):
        short_attention(x, x, x, cu_seqlens, 4)


def test_operators_describe_their_outputs_to_the_compiler() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    from modules.kernels.short_attention import short_attention

    with FakeTensorMode():
        qkv = torch.zeros(10, 3, 2, 64, dtype=torch.bfloat16, requires_grad=True)
        out = short_attention(*qkv.unbind(1), torch.zeros(3, dtype=torch.int32), 4, slopes_H=torch.zeros(2))
        assert (out.shape, out.dtype, out.is_contiguous()) == ((10, 2, 64), torch.bfloat16, True)
        out.sum().backward()
    assert qkv.grad is not None
    assert qkv.grad.shape == qkv.shape


@pytest.mark.gpu
@pytest.mark.parametrize("num_heads", [12, 16])
@pytest.mark.parametrize("seqlen", [1, 7, 64, 127, 128])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_error_on_gpu_is_at_most_twice_that_of_eager(dtype: torch.dtype, seqlen: int, num_heads: int) -> None:
    from modules.kernels.short_attention import short_attention

    torch.manual_seed(0)
    lengths = [seqlen, 0, 1, max(1, seqlen // 2), seqlen]
    cu_seqlens = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device="cuda")
    num_tokens = sum(lengths) + 33
    slopes_H = alibi_slopes(num_heads).cuda()
    qkv = torch.randn(num_tokens, 3, num_heads, 64, device="cuda").to(dtype)
    weight = torch.randn(num_tokens, num_heads, 64, device="cuda").to(dtype)

    def run(qkv: Tensor, kernel: Any, *args: int) -> tuple[Tensor, Tensor]:
        qkv = qkv.detach().requires_grad_()
        out = kernel(*qkv.unbind(1), cu_seqlens, *args, slopes_H=slopes_H)
        (out * weight.to(out.dtype)).sum().backward()
        assert qkv.grad is not None
        return out.detach().double(), qkv.grad.double()

    truth, eager = run(qkv.double(), ragged_attention), run(qkv, ragged_attention)
    ours = run(qkv, short_attention, seqlen)
    for x_true, x_eager, x_ours in zip(truth, eager, ours, strict=True):
        assert (x_ours - x_true).abs().max() <= 2 * (x_eager - x_true).abs().max() + 1e-6
        assert not x_ours[sum(lengths) :].any()

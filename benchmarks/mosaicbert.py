"""MosaicBERT-Base beside BERT and ModernBERT of transformers on one device, and feature by feature between them.

GPU: `python -m benchmarks.mosaicbert`. CPU: `python -m benchmarks.mosaicbert --toy` (seconds; shows only that it runs).
Prints a Markdown table for each document length and share of real tokens. A step is forward, backward and optimizer on
synthetic ids: bf16 autocast on a GPU, fp32 on a CPU, fused AdamW, no attention dropout.
"""

from __future__ import annotations

import argparse
import gc
import logging
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import torch
from torch import Tensor

from benchmarks.mosaicbert_contenders import (
    MASKED_SHARE,
    TOY,
    Batch,
    Contender,
    Size,
    ladder,
    transformers_bert,
    transformers_modernbert,
)
from modules.flops import peak_flops_per_s
from modules.layers.attention import Workload
from modules.layers.attention.auto import choose_attention

BASELINE = "BertForMaskedLM, compiled"
WARMUP_STEPS = 3


@dataclass(frozen=True)
class Measured:
    """Times of the repeats in milliseconds per step, peak memory in bytes (None: not counted on this device)."""

    repeats_ms: list[float]
    peak_bytes: int | None
    num_parameters: int
    train_flops_per_token: float

    @property
    def step_ms(self) -> float:
        """Median over the repeats."""
        return statistics.median(self.repeats_ms)


def measure(
    contender: Contender, batch: Batch, size: Size, device: torch.device, *, repeats: int, steps: int
) -> Measured:
    """Builds a contender, warms it up, and times `repeats` times `steps` training steps."""
    torch.manual_seed(0)
    model = contender.build().to(device).train()
    forward = torch.compile(model, backend=size.compile_backend, dynamic=False) if contender.compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.98), weight_decay=0.02, fused=True)
    inputs = contender.inputs(batch)

    def step() -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = forward(*inputs)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    _time_ms(step, WARMUP_STEPS, device)
    repeats_ms = [_time_ms(step, steps, device) for _ in range(repeats)]
    if not step().isfinite():
        raise RuntimeError(f"{contender.name}: the loss is not finite, its speed means nothing")
    return Measured(
        repeats_ms,
        torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
        sum(p.numel() for p in model.parameters()),
        contender.flops(model, batch.mean_attended).train,
    )


def _time_ms(step: Callable[[], Tensor], steps: int, device: torch.device) -> float:
    _synchronize(device)
    start = time.perf_counter()
    for _ in range(steps):
        step()
    _synchronize(device)
    return (time.perf_counter() - start) * 1000 / steps


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def table(results: dict[str, Measured], batch: Batch, device: torch.device) -> str:
    """A Markdown table; MFU counts what a model needs by its definition: real tokens alone, the head on masked ones."""
    peak = peak_flops_per_s(device, "bf16-mixed")
    columns = ["model", "parameters, M", "ms/step (fastest, slowest)", "real tokens/s", "slots/s", "MFU"]
    columns += ["peak memory, GiB", "times BERT"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, result in results.items():
        steps_per_s = 1000 / result.step_ms
        tokens_per_s = batch.num_real * steps_per_s
        mfu = f"{tokens_per_s * result.train_flops_per_token / peak:.1%}" if peak is not None else "not known"
        memory = f"{result.peak_bytes / 2**30:.1f}" if result.peak_bytes is not None else "not counted"
        cells = [
            name,
            f"{result.num_parameters / 1e6:.1f}",
            f"{result.step_ms:.1f} ({min(result.repeats_ms):.1f}, {max(result.repeats_ms):.1f})",
            f"{tokens_per_s:,.0f}",
            f"{batch.is_real_BS.numel() * steps_per_s:,.0f}",
            mfu,
            memory,
            f"{results[BASELINE].step_ms / result.step_ms:.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def compare(size: Size, seqlen: int, real_share: float, device: torch.device, *, repeats: int, steps: int) -> str:
    """Measures every contender on the same documents; a section with a table."""
    batch = Batch.draw(size, seqlen, real_share, device)
    contenders = [
        transformers_bert(size, compiled=False),
        *ladder(size),
        transformers_bert(size, compiled=True),
        transformers_modernbert(size),
    ]
    results = {}
    for contender in contenders:
        results[contender.name] = measure(contender, batch, size, device, repeats=repeats, steps=steps)
        torch._dynamo.reset()
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    kernel, _ = choose_attention(Workload(device.type, dtype, size.dim // size.num_heads, seqlen, 0.0))
    documents = f"{batch.is_real_BS.shape[0]} documents of at most {seqlen} tokens, {real_share:.0%} of the slots real"
    return f"### {documents}\n\nAttention kernel: {kernel.__name__}\n\n{table(results, batch, device)}"


def environment(device: torch.device) -> str:
    """What the numbers depend on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU ({torch.get_num_threads()} threads)"
    packages = ", ".join(f"{package} {version(package)}" for package in ("torch", "transformers"))
    return f"{name}; Python {platform.python_version()}, {packages}; {MASKED_SHARE:.0%} of the real tokens masked"


def main() -> None:
    """Parses the command line and prints the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="tiny models and batches, to see that it runs")
    parser.add_argument("--seqlen", type=int, nargs="+", help="longest document in tokens (default: 128 512; toy: 32)")
    parser.add_argument("--real-share", type=float, nargs="+", default=[0.8, 1.0], help="share of real tokens")
    parser.add_argument("--repeats", type=int, default=5, help="timed repeats, of which the median counts")
    parser.add_argument("--steps", type=int, help="training steps in a repeat (default: 10; toy: 1)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    if not options.toy and not torch.cuda.is_available():
        parser.error("no CUDA device is visible: add --toy to see on a CPU that it runs")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size, seqlens, steps = (TOY, [32], 1) if options.toy else (Size(), [128, 512], 10)
    print(f"## MosaicBERT beside its peers{' (toy size)' if options.toy else ''}\n\n{environment(device)}", flush=True)
    for seqlen in options.seqlen or seqlens:
        for real_share in options.real_share:
            section = compare(size, seqlen, real_share, device, repeats=options.repeats, steps=options.steps or steps)
            print(f"\n{section}", flush=True)


if __name__ == "__main__":
    main()

"""VMGP beside the formulation of its authors, from the mathematics with GPyTorch: one 100 x 100 system a task.

    OMP_NUM_THREADS=1 python -m benchmarks.meta                 # a minute
    python -m benchmarks.meta --steps 3 --predicted 4 20 50     # a look

A training step (forward, backward, Adam) of 50 tasks x 10 points with ten latents, in this process and on one batch.
Contenders take turns, so that a busy machine is busy for all. Then prediction, in a process of its own for its memory.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from modules.contracts import FewShotTasks
from modules.meta import MultilayerPerceptron, Vmgp

if TYPE_CHECKING:
    from gpytorch.distributions import MultitaskMultivariateNormal

NUM_TASKS, NUM_SUPPORT, NUM_QUERIES, NUM_LATENTS = 50, 5, 5, 10
REFERENCE = "Kronecker multitask GPs (GPyTorch)"


class KroneckerMultitask(nn.Module):
    """The published model (arXiv:2110.11044): prior and posterior are multitask GPs of all latents at once.

    Args:
        num_latents: Latents of a point.
    """

    def __init__(self, num_latents: int = NUM_LATENTS) -> None:
        import gpytorch

        super().__init__()
        self.features = MultilayerPerceptron(1, 10)
        self.encoder = MultilayerPerceptron(2, num_latents + 1)
        self.decoder = MultilayerPerceptron(num_latents, 1)
        self.mean = nn.Parameter(torch.zeros(num_latents))
        self.kernels, self.noises = nn.ModuleList(), nn.ModuleList()
        for _ in ("prior", "posterior"):
            base = gpytorch.kernels.RBFKernel()
            self.kernels.append(gpytorch.kernels.MultitaskKernel(base, num_tasks=num_latents, rank=1))
            self.noises.append(gpytorch.likelihoods.MultitaskGaussianLikelihood(num_tasks=num_latents))

    def loss(self, tasks: FewShotTasks) -> Tensor:
        q, p = self.latents(tasks)
        squares = (self.decoder(q.rsample()) - tasks.points()[1]).square().sum()
        return (squares + 0.01 * torch.distributions.kl_divergence(q, p).sum()) / tasks.num_points

    def latents(self, tasks: FewShotTasks) -> tuple[MultitaskMultivariateNormal, MultitaskMultivariateNormal]:
        """Posterior and prior of all latents of each task."""
        from gpytorch.distributions import MultitaskMultivariateNormal

        x, y, _ = tasks.points()
        encoded = self.encoder(torch.cat([x, y], dim=-1))
        mean, embedding = encoded[..., : len(self.mean)], encoded[..., len(self.mean) :]
        prior = MultitaskMultivariateNormal(self.mean.expand_as(mean), self.kernels[0](self.features(x)))
        posterior = MultitaskMultivariateNormal(mean, self.kernels[1](embedding))
        return self.noises[1](posterior), self.noises[0](prior)


class Networks(nn.Module):
    """What no formulation can do without: the three networks, on the same points."""

    def __init__(self) -> None:
        super().__init__()
        self.features = MultilayerPerceptron(1, 10)
        self.encoder = MultilayerPerceptron(2, 2 * NUM_LATENTS)
        self.decoder = MultilayerPerceptron(NUM_LATENTS, 1)

    def loss(self, tasks: FewShotTasks) -> Tensor:
        x, y, _ = tasks.points()
        latents = self.encoder(torch.cat([x, y], dim=-1))[..., :NUM_LATENTS]
        return (self.decoder(latents) - y).square().mean() + self.features(x).square().mean()


CONTENDERS: dict[str, Callable[[], KroneckerMultitask | Networks | Vmgp]] = {
    REFERENCE: KroneckerMultitask,
    "Vmgp, published model": lambda: Vmgp(posterior="free", covariance="kronecker", sigma=0.0707),
    "Vmgp, free posterior": lambda: Vmgp(posterior="free"),
    "Vmgp, sites": Vmgp,
    "Vmgp, sites, likelihood of the queries": lambda: Vmgp(objective="query"),
    "the networks alone": Networks,
}


def draw_tasks(num_tasks: int, num_support: int, num_queries: int) -> FewShotTasks:
    """Standard normal inputs and targets: only their number matters here."""
    generator = torch.Generator().manual_seed(0)

    def side(num_points: int) -> tuple[Tensor, Tensor, Tensor]:
        x, y = (torch.randn(num_tasks, num_points, 1, generator=generator) for _ in range(2))
        return x, y, torch.ones(num_tasks, num_points, dtype=torch.bool)

    return FewShotTasks(*side(num_support), *side(num_queries), num_tasks * (num_support + num_queries))


def step_ms(num_steps: int, repeats: int = 5) -> dict[str, float]:
    """Median milliseconds of CPU time of a training step of each contender, all taking turns."""
    tasks = draw_tasks(NUM_TASKS, NUM_SUPPORT, NUM_QUERIES)
    steps = {name: _stepper(build, tasks) for name, build in CONTENDERS.items()}
    times_ms: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(repeats + 1):
        for name, step in steps.items():
            start_s = time.process_time()
            for _ in range(num_steps):
                step()
            if repeat:  # the first warms up
                times_ms[name].append((time.process_time() - start_s) * 1000 / num_steps)
    return {name: statistics.median(values) for name, values in times_ms.items()}


def _stepper(build: Callable[[], KroneckerMultitask | Networks | Vmgp], tasks: FewShotTasks) -> Callable[[], None]:
    torch.manual_seed(0)
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        loss = model.loss(tasks)
        loss.backward()
        optimizer.step()
        assert loss.isfinite()

    return step


def predict(kind: str, num_tasks: int, num_queries: int, num_samples: int) -> tuple[float, float]:
    """Seconds of one prediction, and GiB by which the process grew."""
    torch.manual_seed(0)
    learner = Vmgp(posterior="free" if kind == "free" else "sites")
    tasks = draw_tasks(num_tasks, NUM_SUPPORT, num_queries)
    support = tasks.support_x, tasks.support_y, tasks.support_mask
    learner.predict(*support, tasks.query_x[:, :1], num_samples=1)
    before, start_s = peak_memory_gb(), time.perf_counter()
    answer = learner.predict(*support, tasks.query_x, num_samples=num_samples)
    elapsed_s = time.perf_counter() - start_s
    assert answer.mean.isfinite().all()
    return elapsed_s, peak_memory_gb() - before


def peak_memory_gb() -> float:
    """Most memory that this program has had (Linux; `getrusage` would count that of the process that started it)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="steps that are averaged; five medians are taken")
    parser.add_argument(
        "--predicted", type=int, nargs=3, default=(200, 200, 1000), metavar=("TASKS", "QUERIES", "SAMPLES")
    )
    parser.add_argument("--only", choices=("sites", "free"), help="print seconds and GiB of a prediction")
    args = parser.parse_args()
    if args.only:
        print(*predict(args.only, *args.predicted))
        return
    torch.set_num_threads(1)
    print(f"Python {platform.python_version()}, torch {torch.__version__}, {platform.machine()}, one thread\n")
    times_ms = step_ms(args.steps)  # before the table: importing GPyTorch may warn
    print("| training step | CPU ms | times faster |\n| --- | --- | --- |")
    for name, value in times_ms.items():
        print(f"| {name} | {value:.1f} | {times_ms[REFERENCE] / value:.1f} |")
    print("\n| prediction, tasks x queries x samples | s | peak memory above the start, GiB |\n| --- | --- | --- |")
    for kind in ("sites", "free"):
        command = [sys.executable, "-m", "benchmarks.meta", "--only", kind, "--predicted", *map(str, args.predicted)]
        seconds, gigabytes = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        sizes = " x ".join(map(str, args.predicted))
        print(f"| Vmgp, {kind}: {sizes} | {float(seconds):.1f} | {float(gigabytes):.2f} |")


if __name__ == "__main__":
    main()

"""Speed of the lifetime-optimum solver and of the law fitter beside scipy loops, on one core.

    OMP_NUM_THREADS=1 python benchmarks/scaling.py              # half a minute
    python benchmarks/scaling.py --solves 2000 --repeats 1      # a look

scipy is no dependency of the library: without it the table has our rows alone. The scipy solver is given the same
equation (eq. 3 of arXiv:2401.00448 in ln D) and a good bracket; the scipy fitter our objective with its analytic
gradient.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from modules.scaling import LossLaw, fit_law, lifetime_optimum, start_grid
from modules.scaling.arrays import FloatArray
from modules.scaling.runs import DELTA, Runs

LAW = LossLaw.preset("sardana2024")
_SCIPY_SOLVES = 2000
_SCIPY_FITS = 20


def main(argv: list[str] | None = None) -> int:
    """Prints one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--solves", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--starts", type=int, default=4500, help="starts of the fit, the first of the paper's grid")
    args = parser.parse_args(argv)
    has_scipy = importlib.util.find_spec("scipy") is not None
    rows = _solver_rows(args.solves, args.repeats, has_scipy) + _fit_rows(args.starts, has_scipy)
    print(f"Python {platform.python_version()}, numpy {np.__version__}, {platform.machine()}, {_processor()}\n")
    print("| what | how | done | seconds | per second | largest deviation |\n| --- | --- | --- | --- | --- | --- |")
    for what, how, done, seconds, deviation in rows:
        print(f"| {what} | {how} | {done} | {seconds:.3g} | {done / seconds:.3g} | {deviation} |")
    return 0


Row = tuple[str, str, int, float, str]


def _solver_rows(num_solves: int, repeats: int, has_scipy: bool) -> list[Row]:
    generator = np.random.default_rng(0)
    sizes, demands = np.exp(generator.uniform(np.log([[1e6], [1e6]]), np.log([[1e12], [1e20]]), (2, num_solves)))

    def ours() -> FloatArray:
        return lifetime_optimum(LAW, quality_of=sizes, inference_tokens=demands).tokens

    rows: list[Row] = [("optimum", "modules.scaling, vectorised", num_solves, _median_s(ours, repeats), "")]
    if has_scipy:
        few = slice(0, min(num_solves, _SCIPY_SOLVES))
        expected = np.array([])

        def scipy_loop() -> None:
            nonlocal expected
            expected = np.array([_scipy_tokens(*pair) for pair in zip(sizes[few], demands[few], strict=True)])

        seconds = _median_s(scipy_loop, 1)
        deviation = float(np.max(np.abs(ours()[few] / expected - 1)))
        rows.append(("optimum", "scipy.optimize.brentq, one by one", expected.size, seconds, f"{deviation:.1e} in D"))
    return rows


def _scipy_tokens(size: float, demand: float) -> float:
    from scipy.optimize import brentq

    ratio, equivalent = LAW.beta / LAW.alpha, demand / 3
    reducible = LAW.A * size**-LAW.alpha * (1 + 1 / ratio)

    def slope(log_tokens: float) -> float:
        data = LAW.B * np.exp(-LAW.beta * log_tokens)
        return float((1 + ratio) * data + equivalent * ratio * data * np.exp(-log_tokens) - reducible)

    return float(np.exp(brentq(slope, 0.0, 120.0, xtol=1e-14, rtol=1e-15)))


def _fit_rows(num_starts: int, has_scipy: bool) -> list[Row]:
    generator = np.random.default_rng(1)
    parameters = np.repeat(np.geomspace(1.5e8, 6e9, 6), 8)
    tokens = parameters * np.tile(np.geomspace(10, 1000, 8), 6)
    loss = np.asarray(LAW.loss(parameters, tokens)) * np.exp(0.01 * generator.standard_normal(parameters.size))
    starts = start_grid()[:: max(len(start_grid()) // num_starts, 1)]
    started = time.perf_counter()
    fit = fit_law(parameters, tokens, loss, starts=starts)
    how = f"modules.scaling, one batch, {parameters.size} runs"
    rows: list[Row] = [
        ("fit: starts", how, len(starts), time.perf_counter() - started, f"Huber sum {fit.huber_sum:.6e}")
    ]
    if has_scipy:
        some = starts[np.random.default_rng(2).permutation(len(starts))[:_SCIPY_FITS]]
        started = time.perf_counter()
        best = min(_scipy_fit(Runs.of(parameters, tokens, loss), start) for start in some)
        seconds = time.perf_counter() - started
        rows.append(("fit: starts", "scipy L-BFGS-B, one by one", len(some), seconds, f"Huber sum {best:.6e}"))
    return rows


def _scipy_fit(runs: Runs, start: FloatArray) -> float:
    from scipy.optimize import minimize

    once = np.ones((1, runs.num_runs))

    def objective(point: FloatArray) -> tuple[float, FloatArray]:
        values, gradients = runs.huber(point[None], once)
        return float(values[0]) / DELTA, gradients[0] / DELTA

    options = {"maxiter": 1000, "ftol": 1e-15, "gtol": 1e-12}
    found = minimize(objective, runs.inward(start[None])[0], jac=True, method="L-BFGS-B", options=options)
    return float(found.fun) * DELTA


def _median_s(work: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


if __name__ == "__main__":
    sys.exit(main())

"""Fits a loss law to finished runs: Huber on the log of the loss, many starts in one batch, bootstrap intervals.

    from modules.scaling import fit_law
    fit_law(parameters, tokens, loss).law

The recipe of arXiv:2401.00448 (section 3.4 and appendix; after arXiv:2203.15556, approach 3): minimise the SUM over
runs of Huber(r, delta = 1e-3) with r = logsumexp(a - alpha ln N, b - beta ln D, e) - ln L and A = exp(a), B = exp(b),
E = exp(e).

Letters: S starts, R runs, P = 5 unknowns.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from modules.scaling.arrays import FloatArray
from modules.scaling.law import LossLaw, Range
from modules.scaling.lbfgs import Rows, minimise
from modules.scaling.quantities import format_count
from modules.scaling.runs import DELTA, Runs

_SCOUT_STEPS, _SCOUT_TOLERANCE = 1000, 1e-10
_FINAL_STEPS, _FINAL_TOLERANCE = 3000, 1e-14
_NUM_FINALISTS = 24
_SEED = 0
_LEAST_FALL = 1e-6
"""Nats per token between the smallest and the largest run that count as a fall."""


@dataclass(frozen=True)
class LawFit:
    """A fitted law and how well it fits.

    Attributes:
        law: The law; it carries the bootstrap samples, if any were drawn.
        huber_sum: The objective at the optimum.
        num_runs: Runs fitted.
        mean_absolute_error: Of the loss over the fitted runs, nats per token.
        agreeing_share: Share of the starts that came within 1e-4 of the best objective, relatively.
    """

    law: LossLaw
    huber_sum: float
    num_runs: int
    mean_absolute_error: float
    agreeing_share: float


def start_grid(
    *,
    exponents: tuple[float, ...] = (0.0, 0.5, 1.0, 1.5, 2.0),
    log_floor: tuple[float, ...] = (-1.0, -0.5, 0.0, 0.5, 1.0),
    log_scale: tuple[float, ...] = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0),
) -> FloatArray:
    """The paper's 4500 starts (a, b, e, alpha, beta), float[S, 5]; `exponents` and `log_scale` serve both terms."""
    return np.array(list(product(log_scale, log_scale, log_floor, exponents, exponents)))


_BOOTSTRAP_STARTS = start_grid(exponents=(0.5,), log_floor=(0.0,), log_scale=(5.0, 10.0))


def fit_law(
    parameters: ArrayLike,
    tokens: ArrayLike,
    loss: ArrayLike,
    *,
    name: str = "fitted",
    starts: FloatArray | None = None,
    num_bootstrap: int = 0,
) -> LawFit:
    """Fits E, A, B, alpha and beta to runs.

    Args:
        parameters: N of each run, [R].
        tokens: D of each run, [R].
        loss: Final loss of each run in nats per token, [R].
        name: Name of the law.
        starts: Starting points as `start_grid` makes them; by default its full grid.
        num_bootstrap: Resamples of the runs to refit; 0 draws none.

    Returns:
        The fit; it does not depend on the order of the runs.

    Raises:
        ValueError: fewer than 6 runs, arrays of different lengths, a single size or token count, or a loss that does
            not fall with size or with tokens.
    """
    runs = Runs.of(parameters, tokens, loss)
    grid = start_grid() if starts is None else starts
    everything = np.ones((1, runs.num_runs))
    scouted, values = _minimise(runs, runs.inward(grid), everything, _SCOUT_STEPS, _SCOUT_TOLERANCE)
    first = scouted[np.argsort(values, kind="stable")[:_NUM_FINALISTS]]
    finalists, finals = _minimise(runs, first, everything, _FINAL_STEPS, _FINAL_TOLERANCE)
    best, huber_sum = finalists[[np.argmin(finals)]], float(finals.min())
    E, A, B, alpha, beta = map(float, runs.coefficients(best)[0])
    _require_fall("parameters", runs.parameters_range, A, alpha)
    _require_fall("tokens", runs.tokens_range, B, beta)
    samples = _bootstrap(runs, best, num_bootstrap) if num_bootstrap else None
    source = f"fit_law on {runs.num_runs} runs"
    law = LossLaw(E, A, B, alpha, beta, name, source, runs.parameters_range, runs.tokens_range, samples)
    error = np.abs(law.loss(runs.parameters, runs.tokens) - runs.loss).mean()
    agreeing = float(np.mean(values <= huber_sum * (1 + 1e-4)))
    return LawFit(law, huber_sum, runs.num_runs, float(error), agreeing)


def _require_fall(what: str, bounds: Range, coefficient: float, exponent: float) -> None:
    """Refuses a term that does not fall over the runs: the runs show no law then, and nothing can be planned by one."""
    with np.errstate(over="ignore", invalid="ignore"):
        fall = coefficient * (np.power(bounds[0], -exponent) - np.power(bounds[1], -exponent))
    if not fall > _LEAST_FALL:
        raise ValueError(
            f"the loss does not fall with more {what} in these runs (from {format_count(bounds[0])} to "
            f"{format_count(bounds[1])}): no law can be fitted; check the columns, or vary {what} more"
        )


def _minimise(
    runs: Runs, start_SP: FloatArray, weights_WR: FloatArray, max_steps: int, tolerance: float
) -> tuple[FloatArray, FloatArray]:
    """Ends and Huber sums of all starts; row s uses weights s (or the only ones)."""

    def objective(points_SP: FloatArray, rows: Rows) -> tuple[FloatArray, FloatArray]:
        weights = weights_WR if len(weights_WR) == 1 else weights_WR[rows]
        # In units of delta, so that gradients and values are of order one.
        values, gradients = runs.huber(points_SP, weights)
        return values / DELTA, gradients / DELTA

    points, values = minimise(objective, start_SP, max_steps=max_steps, tolerance=tolerance)
    return points, values * DELTA


def _bootstrap(runs: Runs, best_1P: FloatArray, num_samples: int) -> FloatArray:
    """Joint samples of (E, A, B, alpha, beta), float[num_samples, 5]: runs drawn anew with replacement and refitted.

    Each sample starts from the optimum of all runs and, as its own may lie elsewhere, from a few starts of the grid.
    """
    starts = np.concatenate((best_1P, runs.inward(_BOOTSTRAP_STARTS)))
    generator = np.random.default_rng(_SEED)
    counts = generator.multinomial(runs.num_runs, np.full(runs.num_runs, 1 / runs.num_runs), size=num_samples)
    weights = np.repeat(counts.astype(np.float64), len(starts), axis=0)
    points, values = _minimise(runs, np.tile(starts, (num_samples, 1)), weights, _SCOUT_STEPS, _SCOUT_TOLERANCE)
    chosen = np.argmin(values.reshape(num_samples, len(starts)), axis=1)
    return runs.coefficients(points.reshape(num_samples, len(starts), -1)[np.arange(num_samples), chosen])

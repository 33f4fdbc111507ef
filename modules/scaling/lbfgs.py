"""L-BFGS over many starts at once: every row is its own minimisation, one call of the objective serves them all.

Two-loop recursion (Nocedal and Wright, algorithm 7.4) with the weak Wolfe line search by bracketing of Lewis and
Overton (2013), which also serves objectives that are nearly not smooth, as a Huber loss with a narrow middle is.

Letters: S rows (starts), P unknowns, M remembered steps.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from modules.scaling.arrays import FloatArray

Rows = NDArray[np.intp]
Objective = Callable[[FloatArray, Rows], tuple[FloatArray, FloatArray]]
"""From points_SP and the row number of each to values_S and gradients_SP."""

_DECREASE, _CURVATURE = 1e-4, 0.9
_MAX_TRIALS = 40


def minimise(
    objective: Objective, start_SP: FloatArray, *, max_steps: int, tolerance: float, memory: int = 10
) -> tuple[FloatArray, FloatArray]:
    """Minimises from every start.

    A row whose step gains less than the tolerance forgets its past and tries once more along its gradient; when that
    gains no more either it has settled, and costs nothing further.

    Args:
        objective: Values and gradients of a batch of points.
        start_SP: Starting points.
        max_steps: Steps of a row at most.
        tolerance: Smallest relative gain of a step that counts.
        memory: M.

    Returns:
        points_SP and values_S where each row ended.
    """
    points_SP, live = start_SP.copy(), np.arange(len(start_SP))
    values_S, gradients_SP = objective(points_SP, live)
    past = _Past(memory, *start_SP.shape)
    for _ in range(max_steps):
        if live.size == 0:
            break
        x, f, g = points_SP[live], values_S[live], gradients_SP[live]
        new_x, new_f, new_g = _line_search(objective, live, x, f, g, past.direction(live, g))
        points_SP[live], values_S[live], gradients_SP[live] = new_x, new_f, new_g
        stalled = f - new_f <= tolerance * np.abs(f)
        settled = stalled & past.is_empty(live)
        past.remember(live, new_x - x, new_g - g)
        past.forget(live[stalled])
        live = live[~settled]
    return points_SP, values_S


class _Past:
    """The last M steps of every row, newest first; a forgotten or useless step has rho (1 / curvature) 0: no effect."""

    def __init__(self, memory: int, rows: int, unknowns: int) -> None:
        self.step_MSP = np.zeros((memory, rows, unknowns))
        self.change_MSP = np.zeros((memory, rows, unknowns))
        self.rho_MS = np.zeros((memory, rows))

    def is_empty(self, rows: Rows) -> NDArray[np.bool_]:
        return np.all(self.rho_MS[:, rows] == 0, axis=0)

    def forget(self, rows: Rows) -> None:
        self.rho_MS[:, rows] = 0.0

    def remember(self, rows: Rows, step_SP: FloatArray, change_SP: FloatArray) -> None:
        curvature_S = _dot(step_SP, change_SP)
        useful_S = curvature_S > np.finfo(np.float64).eps * _dot(change_SP, change_SP)
        rows, curvature_S = rows[useful_S], curvature_S[useful_S]
        for stored, newest in (
            (self.step_MSP, step_SP[useful_S]),
            (self.change_MSP, change_SP[useful_S]),
            (self.rho_MS, 1 / curvature_S),
        ):
            stored[1:, rows] = stored[:-1, rows]
            stored[0, rows] = newest

    def direction(self, rows: Rows, gradient_SP: FloatArray) -> FloatArray:
        """Minus the inverse Hessian estimate times the gradient; of unit length at most where nothing is remembered."""
        step_MSP, change_MSP, rho_MS = self.step_MSP[:, rows], self.change_MSP[:, rows], self.rho_MS[:, rows]
        q_SP, weights = gradient_SP.copy(), []
        for step_SP, change_SP, rho_S in zip(step_MSP, change_MSP, rho_MS, strict=True):
            weights.append(rho_S * _dot(step_SP, q_SP))
            q_SP -= weights[-1][:, None] * change_SP
        q_SP *= self._scale(change_MSP[0], rho_MS[0], gradient_SP)[:, None]
        for step_SP, change_SP, rho_S, weight_S in zip(
            step_MSP[::-1], change_MSP[::-1], rho_MS[::-1], weights[::-1], strict=True
        ):
            q_SP += (weight_S - rho_S * _dot(change_SP, q_SP))[:, None] * step_SP
        return -q_SP

    @staticmethod
    def _scale(change_SP: FloatArray, rho_S: FloatArray, gradient_SP: FloatArray) -> FloatArray:
        first = 1 / np.maximum(np.sqrt(_dot(gradient_SP, gradient_SP)), 1.0)
        known = rho_S > 0
        return np.where(known, 1 / np.where(known, rho_S * _dot(change_SP, change_SP), 1.0), first)


def _line_search(
    objective: Objective, rows: Rows, x_SP: FloatArray, f_S: FloatArray, g_SP: FloatArray, direction_SP: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """A step of each row that meets the weak Wolfe conditions; the row stays where it is if none is found."""
    slope_S = _dot(g_SP, direction_SP)
    new_x, new_f, new_g = x_SP.copy(), f_S.copy(), g_SP.copy()
    length_S, low_S, high_S = np.ones_like(f_S), np.zeros_like(f_S), np.full_like(f_S, np.inf)
    open_rows = np.flatnonzero(slope_S < 0)
    for _ in range(_MAX_TRIALS):
        if open_rows.size == 0:
            break
        trial = x_SP[open_rows] + length_S[open_rows, None] * direction_SP[open_rows]
        value, gradient = objective(trial, rows[open_rows])
        lower = value <= f_S[open_rows] + _DECREASE * length_S[open_rows] * slope_S[open_rows]
        flat = _dot(gradient, direction_SP[open_rows]) >= _CURVATURE * slope_S[open_rows]
        better = open_rows[lower]
        new_x[better], new_f[better], new_g[better] = trial[lower], value[lower], gradient[lower]
        high_S[open_rows[~lower]] = length_S[open_rows[~lower]]
        low_S[better] = length_S[better]
        open_rows = open_rows[~(lower & flat)]
        bracketed = np.isfinite(high_S[open_rows])
        middle = (low_S[open_rows] + np.where(bracketed, high_S[open_rows], 0.0)) / 2
        length_S[open_rows] = np.where(bracketed, middle, 2 * length_S[open_rows])
    return new_x, new_f, new_g


def _dot(left_SP: FloatArray, right_SP: FloatArray) -> FloatArray:
    return np.einsum("sp,sp->s", left_SP, right_SP)

"""The one equation of inference-aware scaling, free of scale: how demand moves the optimum off the Chinchilla point.

For every law, loss, price and demand the problem is `minimise N (D + K) at equal loss`, K being the demand expressed
in training tokens. Beside the Chinchilla point (Nc, Dc) of the same loss only t = K / Dc matters. With d = D*/Dc, n =
N*/Nc, a = beta / (alpha + beta):

    d^(1+beta) = d + a t,    n = [(1 - (1-a) d^-beta) / a]^(-1/alpha),    cost / Chinchilla cost = n (d + t) / (1 + t)

(arXiv:2401.00448, eq. 3 and 6, after division by the Chinchilla point.) Everything is computed in u = ln d, so that a
tiny demand keeps all its digits: with d = exp(u) the first equation reads `exp(u) expm1(beta u) = a t`.
"""

from dataclasses import dataclass

import numpy as np

from modules.scaling.arrays import FloatArray

_BLOCK = 1 << 14
"""Values solved at once: few enough for the temporaries to stay in the processor's cache."""
_MAX_STEPS = 64
_TOLERANCE = 4 * np.finfo(np.float64).eps
_NEAR = 0.1
"""Below this ln d the two terms of ln cost cancel so far that it is integrated instead."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


@dataclass(frozen=True)
class Shift:
    """Where the optimum lies relative to the Chinchilla point of the same loss.

    Attributes:
        log_data: ln d, d = D*/Dc >= 1.
        log_size: ln n, n = N*/Nc <= 1.
        log_cost: ln of lifetime cost at the optimum over that of the Chinchilla point, <= 0.
    """

    log_data: FloatArray
    log_size: FloatArray
    log_cost: FloatArray

    @property
    def saved_fraction(self) -> FloatArray:
        """Share of the Chinchilla point's lifetime cost that the optimum saves, in [0, 1)."""
        return -np.expm1(self.log_cost)


def shift(relative_demand: FloatArray, alpha: float, beta: float) -> Shift:
    """Solves the scale-free problem.

    Args:
        relative_demand: t = K / Dc, zero or more, any shape.
        alpha: Exponent of the size.
        beta: Exponent of the data.

    Returns:
        The shift, exact to a few units in the last place of each logarithm; for t = 0 exactly none.
    """
    t = np.asarray(relative_demand, dtype=np.float64)
    flat = t.ravel()
    solved = np.empty((3, flat.size))
    for start in range(0, flat.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        solved[:, block] = _solve(flat[block], alpha, beta)
    log_data, log_size, log_cost = (values.reshape(t.shape)[()] for values in solved)
    return Shift(log_data, log_size, log_cost)


def _solve(t: FloatArray, alpha: float, beta: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """ln d, ln n and ln cost of a block."""
    u = _log_data(beta / (alpha + beta) * t, beta)
    # 1 - (1-a) d^-beta = a + (1-a) (1 - d^-beta), and (1-a)/a = alpha/beta.
    log_size = -np.log1p(-alpha / beta * np.expm1(-beta * u)) / alpha
    log_cost = log_size + np.log1p(np.expm1(u) / (1 + t))
    near = u < _NEAR
    log_cost[near] = _log_cost_near_chinchilla(u[near], alpha, beta)
    return u, log_size, log_cost


def _log_cost_near_chinchilla(u: FloatArray, alpha: float, beta: float) -> FloatArray:
    """ln cost as an integral over v = ln d from 0 to u: no digits are lost where the saving is of order t^2.

    By the envelope theorem d ln(cost) / dt = 1/(d+t) - 1/(1+t) = -(d-1) / ((d+t) (1+t)), where
    t = exp(v) expm1(beta v) / a.
    """
    a = beta / (alpha + beta)
    v = u[:, None] / 2 * (1 + _NODES)
    d, growth = np.exp(v), np.expm1(beta * v)
    t, slope = d * growth / a, d * ((1 + beta) * growth + beta) / a
    return -u / 2 * (np.expm1(v) * slope / ((d + t) * (1 + t)) @ _WEIGHTS)


def _log_data(scaled_demand: FloatArray, beta: float) -> FloatArray:
    """The root u of exp(u) expm1(beta u) = s by Newton's method.

    The left side is convex and rises, so that from any start right of the root the steps fall towards it and never
    pass it.
    """
    s = scaled_demand
    u = _upper_bound(s, beta)
    for _ in range(_MAX_STEPS):
        growth = np.expm1(beta * u)
        step = (growth - s * np.exp(-u)) / ((1 + beta) * growth + beta)
        u = u - step
        if np.all(np.abs(step) <= _TOLERANCE * u):
            return u
    raise AssertionError(f"Newton's method did not settle within {_MAX_STEPS} steps (beta={beta})")


def _upper_bound(s: FloatArray, beta: float) -> FloatArray:
    """No root lies right of it: for small s as expm1(x) >= x, for large s as expm1(x) >= exp(x)/2 from x = ln 2 on."""
    return np.minimum(s / beta, np.maximum(np.log(2.0) / beta, np.log(np.maximum(2 * s, 1.0)) / (1 + beta)))

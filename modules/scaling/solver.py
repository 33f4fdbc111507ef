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
        The shift, exact to a few units in the last place of ln d; for t = 0 exactly none.
    """
    t = np.asarray(relative_demand, dtype=np.float64)
    flat = t.ravel()
    log_data = np.empty_like(flat)
    for start in range(0, flat.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        log_data[block] = _log_data(beta / (alpha + beta) * flat[block], beta)
    u = log_data.reshape(t.shape)
    # 1 - (1-a) d^-beta = a + (1-a) (1 - d^-beta), and (1-a)/a = alpha/beta.
    log_size = -np.log1p(-alpha / beta * np.expm1(-beta * u)) / alpha
    log_cost = np.minimum(log_size + np.log1p(np.expm1(u) / (1 + t)), 0.0)
    return Shift(u, log_size, log_cost)


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

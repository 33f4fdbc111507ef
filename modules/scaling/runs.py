"""Finished runs and the Huber objective over them, with its gradient.

Letters: S points, R runs, P = 5 unknowns (a, b, e, alpha, beta), see `modules.scaling.fit`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from modules.scaling.arrays import FloatArray, positive
from modules.scaling.law import Range

DELTA = 1e-3
"""Residual (about a relative error of the loss) beyond which the Huber loss grows linearly."""
MIN_RUNS = 6


@dataclass(frozen=True)
class Runs:
    """Runs in a canonical order.

    The unknowns are taken relative to the middle of the runs, ln N and ln D centred and scaled: what a and alpha do to
    the loss is then nearly independent, and a minimiser needs tens of steps where it would need thousands.
    """

    parameters: FloatArray
    tokens: FloatArray
    loss: FloatArray

    @classmethod
    def of(cls, parameters: ArrayLike, tokens: ArrayLike, loss: ArrayLike) -> Runs:
        """Checks the runs and sorts them.

        Raises:
            ValueError: fewer than 6 runs, arrays of different lengths, or a single size or token count.
        """
        columns = [
            np.atleast_1d(positive(n, v)) for n, v in (("parameters", parameters), ("tokens", tokens), ("loss", loss))
        ]
        lengths = [column.size for column in columns]
        if len(set(lengths)) > 1:
            raise ValueError(
                f"parameters, tokens and loss have {lengths[0]}, {lengths[1]} and {lengths[2]} values: give one each"
            )
        if lengths[0] < MIN_RUNS:
            raise ValueError(f"{lengths[0]} runs cannot determine five coefficients: give at least {MIN_RUNS}")
        for column, what in zip(columns, ("parameters", "tokens"), strict=False):
            if np.ptp(column) == 0:
                raise ValueError(f"all runs have {what}={column[0]:g}: its exponent cannot be fitted, vary it")
        order = np.lexsort(columns[::-1])
        return cls(*(column[order] for column in columns))

    @property
    def num_runs(self) -> int:
        """R."""
        return self.loss.size

    @property
    def parameters_range(self) -> Range:
        """Smallest and largest N."""
        return (float(self.parameters.min()), float(self.parameters.max()))

    @property
    def tokens_range(self) -> Range:
        """Smallest and largest D."""
        return (float(self.tokens.min()), float(self.tokens.max()))

    def huber(self, points_SP: FloatArray, weights_SR: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Weighted Huber sums and their gradients.

        Args:
            points_SP: Centred unknowns, see `inward`.
            weights_SR: How often each run counts, [S, R] or [1, R].

        Returns:
            values_S and gradients_SP, with respect to the centred unknowns.
        """
        a, b, e, alpha, beta = (points_SP[:, [i]] for i in range(5))
        x_R, y_R = self._scaled(self.parameters), self._scaled(self.tokens)
        size_SR, data_SR = a - alpha * x_R, b - beta * y_R
        top_SR = np.maximum(np.maximum(size_SR, data_SR), e)
        size_SR, data_SR, floor_SR = np.exp(size_SR - top_SR), np.exp(data_SR - top_SR), np.exp(e - top_SR)
        total_SR = size_SR + data_SR + floor_SR
        residual_SR = top_SR + np.log(total_SR) - np.log(self.loss)
        clipped_SR = np.clip(residual_SR, -DELTA, DELTA)
        # Inside r^2/2, outside delta (|r| - delta/2): both are c (r - c/2).
        values_S = np.sum(weights_SR * clipped_SR * (residual_SR - clipped_SR / 2), axis=1)
        slope_SR = weights_SR * clipped_SR / total_SR
        size_SR, data_SR = slope_SR * size_SR, slope_SR * data_SR
        gradients = (size_SR.sum(1), data_SR.sum(1), (slope_SR * floor_SR).sum(1), -size_SR @ x_R, -data_SR @ y_R)
        return values_S, np.stack(gradients, axis=1)

    def inward(self, points_SP: FloatArray) -> FloatArray:
        """From (a, b, e, alpha, beta) to the centred unknowns."""
        a, b, e, alpha, beta = points_SP.T
        (x, width_x), (y, width_y) = self._frame(self.parameters), self._frame(self.tokens)
        return np.stack((a - alpha * x, b - beta * y, e, alpha * width_x, beta * width_y), axis=1)

    def outward(self, points_SP: FloatArray) -> FloatArray:
        """The inverse of `inward`."""
        a, b, e, alpha, beta = points_SP.T
        (x, width_x), (y, width_y) = self._frame(self.parameters), self._frame(self.tokens)
        return np.stack((a + alpha / width_x * x, b + beta / width_y * y, e, alpha / width_x, beta / width_y), axis=1)

    def coefficients(self, points_SP: FloatArray) -> FloatArray:
        """From centred unknowns to (E, A, B, alpha, beta)."""
        a, b, e, alpha, beta = self.outward(points_SP).T
        return np.stack((np.exp(e), np.exp(a), np.exp(b), alpha, beta), axis=1)

    def _scaled(self, values_R: FloatArray) -> FloatArray:
        middle, width = self._frame(values_R)
        return (np.log(values_R) - middle) / width

    @staticmethod
    def _frame(values_R: FloatArray) -> tuple[float, float]:
        logs = np.log(values_R)
        return float(logs.mean()), float(logs.std())

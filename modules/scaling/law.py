"""The law that everything here stands on: `L(N, D) = E + A N^-alpha + B D^-beta`, loss from size and training tokens.

    from modules.scaling import LossLaw
    LossLaw.preset("besiroglu2024").chinchilla(parameters=7e9).tokens

Symbols: N parameters, D training tokens, C training FLOPs (6 N D), L loss in nats per token. Every method takes
numbers or arrays that broadcast. Equations are those of arXiv:2401.00448 and of arXiv:2203.15556, approach 3.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modules.scaling.arrays import FloatArray, positive

TRAIN_FLOPS = 6.0
"""FLOPs per parameter and training token: a multiplication and an addition, forward and twice backward."""

Range = tuple[float, float]


@dataclass(frozen=True)
class ChinchillaPoint:
    """The cheapest training run of a given loss when nothing is ever served.

    Attributes:
        parameters: N.
        tokens: D.
        loss: L(N, D), nats per token.
        train_flops: 6 N D.
    """

    parameters: FloatArray
    tokens: FloatArray
    loss: FloatArray
    train_flops: FloatArray


@dataclass(frozen=True)
class LossLaw:
    """Coefficients of a loss law and where they come from.

    Attributes:
        E: Loss that no size and no data removes, nats per token.
        A: Coefficient of the size term.
        B: Coefficient of the data term.
        alpha: Exponent of the size.
        beta: Exponent of the data.
        name: How reports call the law.
        source: Paper, equation and convention of counting N.
        parameters_range: Smallest and largest N the law was fitted on; None where the source does not say.
        tokens_range: The same for D.
        samples: Joint bootstrap samples of (E, A, B, alpha, beta), float[S, 5], where the data allowed to draw them.
            Published standard errors are no substitute: the coefficients are strongly correlated.
    """

    E: float
    A: float
    B: float
    alpha: float
    beta: float
    name: str = "custom"
    source: str = "given by the user"
    parameters_range: Range | None = None
    tokens_range: Range | None = None
    samples: NDArray[np.float64] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        for symbol in ("A", "B", "alpha", "beta"):
            positive(f"{symbol} (law {self.name})", getattr(self, symbol))
        if not (np.isfinite(self.E) and self.E >= 0):
            raise ValueError(f"E (law {self.name})={self.E} must be zero or more, and finite")

    @classmethod
    def preset(cls, name: str) -> LossLaw:
        """A published law by name; `modules.scaling.PRESETS` lists them.

        Raises:
            ValueError: unknown name; the message proposes the nearest ones.
        """
        from modules.scaling.presets import find_preset

        return find_preset(name)

    @property
    def coefficients(self) -> tuple[float, float, float, float, float]:
        """(E, A, B, alpha, beta)."""
        return (self.E, self.A, self.B, self.alpha, self.beta)

    @property
    def size_share(self) -> float:
        """a = beta / (alpha + beta): share of the size term in the reducible loss at a Chinchilla point."""
        return self.beta / (self.alpha + self.beta)

    @property
    def smallest_size_ratio(self) -> float:
        """N*/Nc in the limit of endless demand: no model smaller than this reaches the loss of the Chinchilla point."""
        return float((1 + self.alpha / self.beta) ** (-1 / self.alpha))

    def loss(self, parameters: ArrayLike, tokens: ArrayLike) -> FloatArray:
        """L(N, D) in nats per token."""
        return self.E + self.size_term(parameters) + self.data_term(tokens)

    def size_term(self, parameters: ArrayLike) -> FloatArray:
        """A N^-alpha: the loss that a larger model would remove."""
        return self.A * positive("parameters", parameters) ** -self.alpha

    def data_term(self, tokens: ArrayLike) -> FloatArray:
        """B D^-beta: the loss that more data would remove."""
        return self.B * positive("tokens", tokens) ** -self.beta

    def gradients(self, parameters: ArrayLike, tokens: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """dL/dN and dL/dD, both negative."""
        by_size = -self.alpha * self.size_term(parameters) / positive("parameters", parameters)
        by_data = -self.beta * self.data_term(tokens) / positive("tokens", tokens)
        return by_size, by_data

    def tokens_for_loss(self, parameters: ArrayLike, loss: ArrayLike) -> FloatArray:
        """The D that brings N parameters to a loss.

        Raises:
            ValueError: the model is too small: not even endless data would bring it there.
        """
        left = self.reducible(loss) - self.size_term(parameters)
        self._require_reachable(left, loss, "parameters", parameters)
        return (self.B / left) ** (1 / self.beta)

    def parameters_for_loss(self, tokens: ArrayLike, loss: ArrayLike) -> FloatArray:
        """The N that reaches a loss on D tokens.

        Raises:
            ValueError: there are too few tokens: not even an endless model would reach it.
        """
        left = self.reducible(loss) - self.data_term(tokens)
        self._require_reachable(left, loss, "tokens", tokens)
        return (self.A / left) ** (1 / self.alpha)

    def reducible(self, loss: ArrayLike) -> FloatArray:
        """L - E, what size and data share between them.

        Raises:
            ValueError: the loss lies at or below E.
        """
        values = positive("loss", loss)
        if np.any(values <= self.E):
            raise ValueError(
                f"loss={float(np.min(values)):g} is out of reach: law {self.name} has a floor of E={self.E:g}, "
                "ask for a loss above it"
            )
        return values - self.E

    def chinchilla(
        self,
        *,
        parameters: ArrayLike | None = None,
        tokens: ArrayLike | None = None,
        loss: ArrayLike | None = None,
        train_flops: ArrayLike | None = None,
    ) -> ChinchillaPoint:
        """The training-optimal run, named by exactly one of its four coordinates.

        Raises:
            ValueError: none or several of them are given.
        """
        given = [value is not None for value in (parameters, tokens, loss, train_flops)]
        if sum(given) != 1:
            raise ValueError(
                f"chinchilla() got {sum(given)} of parameters, tokens, loss, train_flops: give exactly one"
            )
        if parameters is not None:
            size = positive("parameters", parameters)
            data = (self.beta * self.B / (self.alpha * self.A) * size**self.alpha) ** (1 / self.beta)
        elif tokens is not None:
            data = positive("tokens", tokens)
            size = (self.alpha * self.A / (self.beta * self.B) * data**self.beta) ** (1 / self.alpha)
        elif loss is not None:
            size = (self.A * (1 + self.alpha / self.beta) / self.reducible(loss)) ** (1 / self.alpha)
            data = (self.B * (1 + self.beta / self.alpha) / self.reducible(loss)) ** (1 / self.beta)
        else:
            assert train_flops is not None
            product = positive("train_flops", train_flops) / TRAIN_FLOPS
            ratio = (self.alpha * self.A / (self.beta * self.B)) ** (1 / (self.alpha + self.beta))
            size, data = ratio * product**self.size_share, product ** (1 - self.size_share) / ratio
        reached = self.loss(size, data) if loss is None else np.asarray(loss, dtype=np.float64)
        return ChinchillaPoint(size, data, reached, TRAIN_FLOPS * size * data)

    def covers(self, parameters: ArrayLike, tokens: ArrayLike) -> NDArray[np.bool_]:
        """Whether (N, D) lies inside the range the law was fitted on; False where that range is unknown."""
        if self.parameters_range is None or self.tokens_range is None:
            return np.zeros(np.broadcast_shapes(np.shape(parameters), np.shape(tokens)), dtype=np.bool_)
        return _within(parameters, self.parameters_range) & _within(tokens, self.tokens_range)

    def covers_run(self, parameters: float, tokens: float) -> bool | None:
        """The same for one run, but None where the range is unknown."""
        unknown = self.parameters_range is None or self.tokens_range is None
        return None if unknown else bool(self.covers(parameters, tokens))

    def _require_reachable(self, left: FloatArray, loss: ArrayLike, name: str, value: ArrayLike) -> None:
        if np.any(left <= 0):
            values, losses = np.broadcast_arrays(np.asarray(value, np.float64), np.asarray(loss, np.float64))
            first = int(np.flatnonzero(np.broadcast_to(left, values.shape) <= 0)[0])
            raise ValueError(
                f"loss={losses.flat[first]:g} is out of reach with {name}={values.flat[first]:.4g} "
                f"under law {self.name}: ask for a higher loss or more {name}"
            )


def _within(value: ArrayLike, bounds: Range) -> NDArray[np.bool_]:
    values = np.asarray(value, dtype=np.float64)
    return (values >= bounds[0]) & (values <= bounds[1])

"""What a plan is asked: a quality, a demand, what a FLOP costs, and what bounds the choice."""

from __future__ import annotations

from dataclasses import dataclass

from modules.scaling.constraints import NO_LIMITS, Limits
from modules.scaling.demand import DemandDistribution
from modules.scaling.law import LossLaw
from modules.scaling.rates import FLOPS, CostRates


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked. Exactly one of the four qualities is given.

    Attributes:
        law: The law that answers.
        other_laws: Laws to hold beside it.
        inference_tokens: Lifetime demand; where `forecast` is given, its mean.
        loss: Quality: a loss under `law`. Other laws take the Chinchilla model that has this loss under `law`.
        like: Quality: that of a run (N, D).
        quality_of: Quality: that of the Chinchilla model with this many parameters, under each law its own.
        budget: Quality: the best that this lifetime cost pays for, in the unit of the rates.
        rates: Cost of a FLOP.
        limits: Bounds on size, data and training compute.
        forecast: The demand as a distribution.
        unique_tokens: Different training tokens that exist; None means enough of them.
    """

    law: LossLaw
    inference_tokens: float
    other_laws: tuple[LossLaw, ...] = ()
    loss: float | None = None
    like: tuple[float, float] | None = None
    quality_of: float | None = None
    budget: float | None = None
    rates: CostRates = FLOPS
    limits: Limits = NO_LIMITS
    forecast: DemandDistribution | None = None
    unique_tokens: float | None = None

    def __post_init__(self) -> None:
        given = sum(value is not None for value in (self.loss, self.like, self.quality_of, self.budget))
        if given != 1:
            raise ValueError(f"a plan needs exactly one quality, got {given}: a loss, a run, a model size or a budget")
        if self.budget is not None and (self.limits.any or self.unique_tokens is not None):
            raise ValueError(
                "a budget cannot be combined with limits or unique tokens: name the quality in another way"
            )

"""The masking rate of each step of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from modules.contracts import Schedule

NUM_PROBES = 1001


@dataclass(frozen=True)
class MaskingRate:
    """A constant rate, or a Schedule over the steps of the run.

    Attributes:
        rate: The rate, or a function from the fraction of the run to the rate.
        batch_size: Examples per step.
        num_steps: Steps of the whole run, a broken number where they follow from tokens; a constant needs none.

    Raises:
        ValueError: A rate is outside [0, 1).
    """

    rate: float | Schedule
    batch_size: int
    num_steps: float = math.inf

    def __post_init__(self) -> None:
        if not 0 <= self.maximum() < 1:
            raise ValueError(f"masking_rate={self.maximum()} must be in [0, 1)")

    def at(self, position: int) -> float:
        """The rate at a global position; it changes between steps only, so that it does not depend on micro-batches."""
        if not callable(self.rate):
            return self.rate
        return self.rate(min(1.0, position // self.batch_size / self.num_steps))

    def mean(self) -> float:
        """The mean rate of the run."""
        if not callable(self.rate):
            return self.rate
        return sum(self.rate(probe / (NUM_PROBES - 1)) for probe in range(NUM_PROBES)) / NUM_PROBES

    def maximum(self) -> float:
        """The largest rate of the run, for which the row budgets are made."""
        if not callable(self.rate):
            return self.rate
        return max(self.rate(probe / (NUM_PROBES - 1)) for probe in range(NUM_PROBES))

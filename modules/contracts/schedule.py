"""Schedules: what learning rates and masking rates follow over a run."""

from collections.abc import Callable

Schedule = Callable[[float], float]
"""From the fraction of the run that is done, in [0, 1], to a multiplier (or, for a masking rate, to the rate
itself)."""

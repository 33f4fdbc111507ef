"""Ranges of constructor arguments, refused with name, value and bound."""

from __future__ import annotations

from collections.abc import Sequence


def check_at_least_one(**counts: int) -> None:
    """Refuse a count of zero or less.

    Raises:
        ValueError: A count is below one.
    """
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name}={count} must be at least 1")


def check_positive(**values: float) -> None:
    """Refuse zero, what lies below it, and what is no number.

    Raises:
        ValueError: A value is not above zero.
    """
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name}={value} must be positive")


def check_probabilities(**probabilities: float) -> None:
    """Refuse what is no probability, and the certainty of dropping everything.

    Raises:
        ValueError: A probability lies outside [0, 1).
    """
    for name, probability in probabilities.items():
        if not 0 <= probability < 1:
            raise ValueError(f"{name}={probability} must be in [0, 1)")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a word that means nothing: the parser of YAML does the same, but Python takes any.

    Raises:
        ValueError: `value` is none of `choices`.
    """
    if value not in choices:
        raise ValueError(f"{name}={value} must be one of {', '.join(choices)}")

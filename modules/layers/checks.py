"""Ranges of constructor arguments, refused with name, value and bound."""


def check_at_least_one(**counts: int) -> None:
    """Refuse a count of zero or less.

    Raises:
        ValueError: A count is below one.
    """
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name}={count} must be at least 1")


def check_probabilities(**probabilities: float) -> None:
    """Refuse what is no probability, and the certainty of dropping everything.

    Raises:
        ValueError: A probability lies outside [0, 1).
    """
    for name, probability in probabilities.items():
        if not 0 <= probability < 1:
            raise ValueError(f"{name}={probability} must be in [0, 1)")

"""What is wrong with a configuration, said so that a person can act on it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One fault of a configuration.

    Printed as `yaml/mosaicbert/base.yaml:12: model.init_args.lr: wrong type (value 'fast'), expected float`.
    """

    source: str
    """Where the value was written: `FILE:LINE`, or `command line`."""
    key: str
    """Dotted key of the value; empty where the fault is not about one value."""
    message: str
    """What is wrong, which value, and what would be right."""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.source, self.key, self.message) if part)


class ConfigError(Exception):
    """The user's configuration cannot be run; carries all its faults at once.

    Args:
        problems: The faults, in the order of the configuration.
    """

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems

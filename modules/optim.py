"""Schedules: what a learning rate or a masking rate follows over a run.

Each instance is a `modules.contracts.Schedule`: it takes the fraction of the run that is done, in [0, 1], and returns a
multiplier (or the rate itself). None of them knows steps or hours: a recipe knows its horizon.

There is no optimizer here: the decoupled weight decay of the papers is `torch.optim.AdamW` in other terms. Composer's
DecoupledAdamW takes `lr_t / lr_0 * decay` off each weight and torch `lr_t * weight_decay`, so that `weight_decay =
decay / lr_0` gives the same weights under any schedule (MosaicBERT: 1e-5 / 5e-4 = 0.02).
"""

import math


class Constant:
    """The same value all the time.

    Args:
        value: The value.
    """

    def __init__(self, value: float = 1.0) -> None:
        self.value = value

    def __call__(self, fraction: float) -> float:
        return self.value


class Linear:
    """A straight line over the whole run.

    Args:
        start: Value at the beginning.
        end: Value at the end.
    """

    def __init__(self, start: float, end: float) -> None:
        self.start = start
        self.end = end

    def __call__(self, fraction: float) -> float:
        return _line(self.start, self.end, fraction)


class Cosine:
    """Half a wave of a cosine over the whole run: flat at both ends.

    Args:
        start: Value at the beginning.
        end: Value at the end.
    """

    def __init__(self, start: float, end: float) -> None:
        self.start = start
        self.end = end

    def __call__(self, fraction: float) -> float:
        return _wave(self.start, self.end, fraction)


class WarmupLinear:
    """From 0 to 1 in a line, then in a line down (arXiv:2312.17482: 6 % up, down to 0.02 of the peak).

    Args:
        warmup: Fraction of the run spent going up.
        final: Multiplier at the end.

    Raises:
        ValueError: `warmup` is outside [0, 1).
    """

    def __init__(self, warmup: float = 0.06, final: float = 0.02) -> None:
        self.warmup = _checked_share("warmup", warmup)
        self.final = final

    def __call__(self, fraction: float) -> float:
        if fraction < self.warmup:
            return fraction / self.warmup
        return _line(1.0, self.final, (fraction - self.warmup) / (1 - self.warmup))


class WarmupCosine:
    """From 0 to 1 in a line, then down in half a wave of a cosine (arXiv:1608.03983, eq. 5, without restarts).

    Args:
        warmup: Fraction of the run spent going up.
        final: Multiplier at the end.

    Raises:
        ValueError: `warmup` is outside [0, 1).
    """

    def __init__(self, warmup: float = 0.06, final: float = 0.0) -> None:
        self.warmup = _checked_share("warmup", warmup)
        self.final = final

    def __call__(self, fraction: float) -> float:
        if fraction < self.warmup:
            return fraction / self.warmup
        return _wave(1.0, self.final, (fraction - self.warmup) / (1 - self.warmup))


class WarmupStableDecay:
    """From 0 to 1 in a line, level, then in a line down (arXiv:2404.06395, section 4).

    Args:
        warmup: Fraction of the run spent going up.
        decay: Fraction of the run spent going down.
        final: Multiplier at the end.

    Raises:
        ValueError: `warmup` or `decay` is outside [0, 1), or together they exceed the run.
    """

    def __init__(self, warmup: float = 0.06, decay: float = 0.1, final: float = 0.0) -> None:
        self.warmup = _checked_share("warmup", warmup)
        self.decay = _checked_share("decay", decay)
        if warmup + decay > 1:
            raise ValueError(f"warmup={warmup} and decay={decay} must not exceed 1 together")
        self.final = final

    def __call__(self, fraction: float) -> float:
        if fraction < self.warmup:
            return fraction / self.warmup
        if fraction <= 1 - self.decay:
            return 1.0
        return _line(1.0, self.final, (fraction - (1 - self.decay)) / self.decay)


def _line(start: float, end: float, fraction: float) -> float:
    return start + fraction * (end - start)


def _wave(start: float, end: float, fraction: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2


def _checked_share(name: str, share: float) -> float:
    if not 0 <= share < 1:
        raise ValueError(f"{name}={share} must be in [0, 1), a fraction of the run")
    return share

"""Means over the tokens of many forward passes and all ranks."""

from __future__ import annotations

import torch
from lightning.pytorch.strategies import Strategy
from torch import Tensor


class TokenMeans:
    """Sums per-token quantities on the device, so that no step waits; divides by the token count when asked.

    A mean over micro-batches or ranks would weight tokens by how many others share their batch; this one weights all
    alike.
    """

    def __init__(self, *names: str) -> None:
        self.names = names
        self._sums: Tensor | None = None

    def add(self, count: Tensor, *sums: Tensor) -> None:
        """Add the number of tokens of a forward pass, and the sum over them of each named quantity (scalars)."""
        added = torch.stack([count.to(torch.float64), *(s.detach().to(torch.float64) for s in sums)])
        self._sums = added if self._sums is None else self._sums.to(added.device) + added

    def compute(self, strategy: Strategy) -> dict[str, Tensor]:
        """The mean of each quantity over all ranks since the last call, which every rank must make. Starts anew.

        Without any token the means are NaN.
        """
        total = self._total(strategy)
        self._sums = None
        return dict(zip(self.names, (total[1:] / total[0]).float(), strict=True))

    def state(self, strategy: Strategy) -> list[float]:
        """What a checkpoint needs to go on: the sums over all ranks, each of which must call this."""
        return self._total(strategy).tolist()

    def restore(self, state: list[float], *, rank: int) -> None:
        """Go on from `state`, with any number of ranks: the first one takes all of it."""
        self._sums = torch.tensor(state, dtype=torch.float64) if rank == 0 else None

    def _total(self, strategy: Strategy) -> Tensor:
        local = self._sums if self._sums is not None else torch.zeros(1 + len(self.names), dtype=torch.float64)
        return strategy.reduce(local.to(strategy.root_device, copy=True), reduce_op="sum")  # some reduce in place

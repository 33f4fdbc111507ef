"""Chooses the fastest backend that can serve a call, and says which and why."""

import logging
from functools import cache

import torch
from torch import Tensor

from modules.layers.attention.base import Attention, Workload
from modules.layers.attention.flash import FlashVarlenAttention
from modules.layers.attention.flex import FlexAttention
from modules.layers.attention.sdpa import SdpaAttention
from modules.layers.attention.triton_short import TritonShortAttention

# T tokens of all documents and the filler behind them, H heads, C channels per head

logger = logging.getLogger(__name__)

_PREFERENCE: dict[str, tuple[type[Attention], ...]] = {
    "cuda": (TritonShortAttention, FlashVarlenAttention, FlexAttention, SdpaAttention),
}
_PORTABLE: tuple[type[Attention], ...] = (SdpaAttention,)


class AutoAttention(Attention):
    """Hands each call on to the fastest backend that does not refuse it.

    The choice falls at the first call of each kind (see `Workload`) and is logged once in a process: at level INFO if
    the kernel is meant for the device, at WARNING if SDPA had to step in on a GPU, with the reason of each refusal.
    """

    def __init__(self) -> None:
        super().__init__()
        self._choose = torch.compiler.assume_constant_result(_announced_choice)  # compiled code holds the choice itself
        self._backends = {kind.__name__: kind() for kind in {*_PREFERENCE["cuda"], *_PORTABLE}}

    def refusal(self, workload: Workload) -> str | None:
        """Serves everything."""
        return None

    def attend(
        self,
        q_THC: Tensor,
        k_THC: Tensor,
        v_THC: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
        slopes_H: Tensor | None,
        dropout: float,
    ) -> Tensor:
        """Shapes as in `Attention.forward`."""
        bound = _power_of_two(max_seqlen)
        name = self._choose(q_THC.device.type, q_THC.dtype, q_THC.shape[-1], bound, dropout)
        return self._backends[name].attend(q_THC, k_THC, v_THC, cu_seqlens, max_seqlen, slopes_H, dropout)


def _power_of_two(max_seqlen: int) -> int:
    """The next one: few lengths are announced, and a compiler that traces `max_seqlen` as a symbol gets a constant."""
    bound = 1
    while bound < max_seqlen:
        bound *= 2
    return bound


def choose_attention(workload: Workload) -> tuple[type[Attention], dict[str, str]]:
    """The fastest backend for such a call, and why each faster one refuses it.

    Returns:
        The class, and from the names of the faster backends to their reasons, empty if the first choice serves.
    """
    refusals: dict[str, str] = {}
    for kind in _PREFERENCE.get(workload.device, _PORTABLE):
        why = kind().refusal(workload)
        if why is None:
            return kind, refusals
        refusals[kind.__name__] = why
    raise AssertionError("SdpaAttention serves everything")


def _announced_choice(device: str, dtype: torch.dtype, head_dim: int, max_seqlen: int, dropout: float) -> str:
    return _announce(Workload(device, dtype, head_dim, max_seqlen, dropout))


@cache
def _announce(workload: Workload) -> str:
    kind, refusals = choose_attention(workload)
    reasons = "; ".join(f"not {name}: {why}" for name, why in refusals.items()) or f"the fastest on {workload.device}"
    level = logging.WARNING if refusals and kind is SdpaAttention else logging.INFO
    logger.log(level, "attention=%s for %s (%s)", kind.__name__, workload, reasons)
    return kind.__name__

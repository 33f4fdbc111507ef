"""The cost of a LightningModule that does not tell it: counted while one training step runs."""

from __future__ import annotations

import lightning as L
from torch.utils.flop_counter import FlopCounterMode

from modules.contracts import CostProfile
from modules.flops import count_parameters


class MeasuredStep:
    """Counts the FLOPs of one batch, from `MeasuredStep()` to `end`, forward and backward pass.

    Matrix products, convolutions and attentions of torch are counted; kernels that torch does not know are not.
    """

    def __init__(self) -> None:
        self._forward_flops: int | None = None
        self._counter = FlopCounterMode(display=False)
        self._counter.__enter__()

    def before_backward(self) -> None:
        """Note where the (first) forward pass ends."""
        if self._forward_flops is None:
            self._forward_flops = self._counter.get_total_flops()

    def stop(self) -> None:
        """Stop counting, also after an error: torch would go on for the rest of the process."""
        self._counter.__exit__(None, None, None)

    def end(self, module: L.LightningModule, unit: str, num_units: int) -> CostProfile:
        """Stop counting.

        Args:
            module: What was trained.
            unit: Name of a unit.
            num_units: Units in the batch that was counted; later ones are taken to cost the same.
        """
        self.stop()
        total_flops = self._counter.get_total_flops()
        forward_flops = total_flops if self._forward_flops is None else self._forward_flops
        counts = count_parameters(module)
        return CostProfile(
            unit=unit,
            parameters_total=counts.total,
            parameters_active=counts.total - counts.embedding,
            parameters_trainable=counts.trainable,
            train_flops=total_flops / num_units,
            prefill_flops=forward_flops / num_units,
            decode_flops=forward_flops / num_units,
            decode_weight_bytes=sum(p.numel() * p.element_size() for p in module.parameters()),
            law_note="this LightningModule has no cost_profile: its FLOPs were counted during one training step",
        )

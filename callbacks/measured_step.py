"""The cost of a LightningModule that does not tell it: counted while one training step runs."""

from __future__ import annotations

import lightning as L
from torch.utils.flop_counter import FlopCounterMode

from modules.contracts import CostProfile
from modules.flops import count_parameters


class MeasuredStep:
    """Counts the FLOPs between `begin` and `end`: one training step, forward and backward pass.

    Matrix products, convolutions and attentions of torch are counted; kernels that torch does not know are not.
    """

    def __init__(self) -> None:
        self._counter = FlopCounterMode(display=False)

    def begin(self) -> None:
        """Start counting."""
        self._counter.__enter__()

    def end(self, module: L.LightningModule, num_examples: int) -> CostProfile:
        """Stop counting.

        Args:
            module: What was trained.
            num_examples: Examples in the batch that was counted; later batches are taken to cost the same per example.
        """
        self._counter.__exit__(None, None, None)
        flops = self._counter.get_total_flops() / num_examples
        counts = count_parameters(module)
        return CostProfile(
            unit="example",
            parameters_total=counts.total,
            parameters_active=counts.total - counts.embedding,
            parameters_trainable=counts.trainable,
            train_flops=flops,
            prefill_flops=flops / 3,  # a backward pass costs twice its forward pass
            decode_flops=flops / 3,
            decode_weight_bytes=sum(p.numel() * p.element_size() for p in module.parameters()),
            law_note="this LightningModule has no cost_profile: its FLOPs were counted during one training step",
        )

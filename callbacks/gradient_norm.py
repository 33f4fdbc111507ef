"""Logs the norm of the gradient."""

from __future__ import annotations

import lightning as L
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer


class GradientNorm(L.Callback):
    """Logs `train/grad_norm`, the 2-norm over all gradients before clipping, at every logging step of the Trainer."""

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer) -> None:
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and (trainer.global_step + 1) % every == 0:
            pl_module.log("train/grad_norm", gradient_norm(optimizer))


def gradient_norm(optimizer: Optimizer) -> Tensor:
    """The 2-norm over the gradients of all parameters of an optimizer, sharded ones included; nothing waits for it."""
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    return norm.full_tensor() if isinstance(norm, DTensor) else norm

"""One meter for all rates of a run: units of work, FLOPs, seconds, devices."""

from __future__ import annotations

import time
from typing import Any, Protocol

import lightning as L
import torch

from modules.contracts import CostProfile
from modules.flops import peak_flops_per_s


class Metered(Protocol):
    """What the meter asks of a recipe."""

    def cost_profile(self) -> CostProfile: ...

    def count_units(self, batch: Any) -> int: ...


class Meter(L.Callback):
    """Counts what the run has done, on all ranks and across resumes, and logs its rates.

    Logged at every logging step of the Trainer: `meter/{unit}s` processed so far (real ones, no padding),
    `meter/{unit}s_per_second`, `meter/tflops_per_second` and `meter/mfu`, the share of the devices' dense peak (only
    for devices whose peak is known). FLOPs are those the model needs by its definition, not those a trick saves or
    wastes. Validation is excluded from all of them. Nothing waits for the device between two logging steps.

    Attributes:
        units: Units of work done by all ranks.
        flops: FLOPs spent in training by all ranks.
        seconds: Seconds of training, validation excluded.
        device_seconds: The same times the number of devices.
    """

    def __init__(self) -> None:
        self.units = 0
        self.seconds = 0.0
        self.device_seconds = 0.0
        self.flops = 0.0
        self._local_units = 0  # of this rank, since the last reading
        self._local_seconds = 0.0
        self._since = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in ("units", "seconds", "device_seconds", "flops")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for key, value in state_dict.items():
            setattr(self, key, value)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.profile: CostProfile = pl_module.cost_profile()  # type: ignore[operator]
        self.peak = peak_flops_per_s(pl_module.device, str(trainer.precision))
        self._since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._local_units += pl_module.count_units(batch)  # type: ignore[operator]
        if trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._pause(pl_module.device)
            pl_module.log_dict(self._read(trainer))

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._pause(pl_module.device)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._since = time.perf_counter()

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        # Saving is collective; the callback's own state is written before this hook, so it is put in again.
        if trainer.training:
            self._pause(pl_module.device)
        self._read(trainer)
        checkpoint["callbacks"][self.state_key] = self.state_dict()

    def _pause(self, device: torch.device) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        now = time.perf_counter()
        self._local_seconds += now - self._since
        self._since = now

    def _read(self, trainer: L.Trainer) -> dict[str, float]:
        """Move what was counted since the last reading into the totals of all ranks; the rates over that time."""
        counted = torch.tensor(float(self._local_units), dtype=torch.float64, device=_reduce_device(trainer))
        units = int(trainer.strategy.reduce(counted, reduce_op="sum"))
        seconds = max(self._local_seconds, 1e-9)
        self._local_units, self._local_seconds = 0, 0.0
        flops = units * self.profile.train_flops
        self.units += units
        self.flops += flops
        self.seconds += seconds
        self.device_seconds += seconds * trainer.world_size
        return self._rates(units / seconds, flops / seconds, trainer.world_size)

    def _rates(self, units_per_s: float, flops_per_s: float, num_devices: int) -> dict[str, float]:
        unit = self.profile.unit.replace(" ", "_")
        rates = {
            f"meter/{unit}s": float(self.units),
            f"meter/{unit}s_per_second": units_per_s,
            "meter/tflops_per_second": flops_per_s / 1e12,
        }
        if self.peak is not None:
            rates["meter/mfu"] = flops_per_s / (self.peak * num_devices)
        return rates


def _reduce_device(trainer: L.Trainer) -> torch.device:
    return trainer.strategy.root_device

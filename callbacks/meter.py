"""One meter for all rates of a run: units of work, FLOPs, seconds, devices."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from torch import Tensor

from callbacks.measured_step import MeasuredStep
from callbacks.steps import at_logging_step
from callbacks.units import CountUnits, choose_units
from modules.contracts import CostProfile
from modules.flops import peak_flops_per_s

TOTALS = ("units", "flops", "seconds", "device_seconds")


class Meter(L.Callback):
    """Counts what the run has done, on all ranks and across resumes, and logs its rates.

    Logged at every logging step of the Trainer: `meter/{unit}s` processed so far (real ones, no padding),
    `meter/{unit}s_per_second`, `meter/tflops_per_second` and `meter/mfu`, the share of the devices' dense peak (only
    for devices whose peak is known). FLOPs are those the model needs by its definition, not those a trick saves or
    wastes. Validation is excluded from all of them. Nothing waits for the device between two logging steps.

    A recipe tells `cost_profile() -> CostProfile` and `count_units(batch) -> int`. Of a LightningModule without them
    the first batch is counted, FLOPs and units (`callbacks.units.choose_units`).

    Attributes:
        units: Units of work done by all ranks.
        flops: FLOPs spent in training by all ranks.
        seconds: Seconds of training, validation excluded.
        device_seconds: The same times the number of devices.
        profile: Cost of a unit; None until it is known.
    """

    def __init__(self) -> None:
        self.units = 0
        self.flops = 0.0
        self.seconds = 0.0
        self.device_seconds = 0.0
        self.profile: CostProfile | None = None
        self._peak: float | None = None
        self._measured: MeasuredStep | None = None
        self._unit = ""
        self._count_units: CountUnits | None = None
        self._new_units: int | Tensor = 0  # of this rank, since the last reading
        self._new_seconds = 0.0
        self._since: float | None = None  # while the clock runs

    def state_dict(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in TOTALS}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for key in TOTALS:
            setattr(self, key, state_dict[key])

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        tell: Callable[[], CostProfile] | None = getattr(pl_module, "cost_profile", None)
        self.profile = tell() if tell is not None else None
        self._peak = peak_flops_per_s(pl_module.device, str(trainer.precision))
        self._since = time.perf_counter()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._since is None:
            self._since = time.perf_counter()
        if self._count_units is None:
            self._unit, self._count_units = choose_units(pl_module, batch)
        if self.profile is None:
            self._measured = MeasuredStep()

    def on_before_backward(self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor) -> None:
        if self._measured is not None:
            self._measured.before_backward()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert self._count_units is not None
        units = self._count_units(batch)
        self._new_units = self._new_units + units
        if self._measured is not None:
            self.profile, self._measured = self._measured.end(pl_module, self._unit, int(units)), None
        if at_logging_step(trainer, batch_idx):
            pl_module.log_dict(self.read(trainer))

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        if self._measured is not None:
            self._measured.stop()
            self._measured = None

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._read_clock(trainer)
            self._since = None  # until the next step: what callbacks do at the end of a validation belongs to it

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        if self.profile is not None:
            self.read(trainer)
            checkpoint["callbacks"][self.state_key] = self.state_dict()  # Lightning has put in the older totals

    def read(self, trainer: L.Trainer, *, collective: bool = True) -> dict[str, float]:
        """Move what was counted since the last reading into the totals of all ranks, and tell the rates over that time.

        Args:
            trainer: Whose ranks are read; all of them must call this together.
            collective: False where the other ranks may be gone: they are taken to have done as much as this one.
        """
        assert self.profile is not None
        if trainer.training:
            self._read_clock(trainer, wait=collective)
        if collective:
            new = torch.as_tensor(self._new_units, dtype=torch.int64, device=trainer.strategy.root_device)
            units = int(trainer.strategy.reduce(new, reduce_op="sum")) // _copies(trainer)
        else:
            known = self._new_units if isinstance(self._new_units, int) else 0  # a tensor may never arrive
            units = known * trainer.world_size // _copies(trainer)
        seconds, flops = max(self._new_seconds, 1e-9), units * self.profile.train_flops
        self._new_units, self._new_seconds = 0, 0.0
        self.units += units
        self.flops += flops
        self.seconds += seconds
        self.device_seconds += seconds * trainer.world_size
        return self._rates(self.profile.unit, units / seconds, flops / seconds, trainer.world_size)

    def _read_clock(self, trainer: L.Trainer, *, wait: bool = True) -> None:
        if self._since is None:
            return
        device = trainer.strategy.root_device
        if wait and device.type == "cuda":
            torch.cuda.synchronize(device)
        now = time.perf_counter()
        self._new_seconds += now - self._since
        self._since = now

    def _rates(self, unit: str, units_per_s: float, flops_per_s: float, num_devices: int) -> dict[str, float]:
        name = unit.replace(" ", "_")
        rates = {
            f"meter/{name}s": float(self.units),
            f"meter/{name}s_per_second": units_per_s,
            "meter/tflops_per_second": flops_per_s / 1e12,
        }
        if self._peak is not None:
            rates["meter/mfu"] = flops_per_s / (self._peak * num_devices)
        return rates


def _copies(trainer: L.Trainer) -> int:
    """Ranks that see the same data, as tensor parallelism has them."""
    replicas = trainer.distributed_sampler_kwargs
    return trainer.world_size // replicas["num_replicas"] if replicas else 1

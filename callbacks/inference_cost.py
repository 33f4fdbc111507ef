"""What a run has cost and what its model will cost over its life, training and inference together."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_warn

from callbacks.cost_picture import draw_lifetime_cost
from callbacks.files import written_whole
from callbacks.meter import Meter
from callbacks.paid_time import PaidTime
from callbacks.run_folder import run_folder
from callbacks.to_loggers import log_report
from modules.contracts import LawUse
from modules.scaling import (
    PAPER_OUTPUT_FRACTION,
    Hardware,
    LifetimeReport,
    LossLaw,
    RunCost,
    lifetime_report,
    parse_count,
    parse_usd_per_hour,
    recognise,
    report_markdown,
    report_table,
)

FILE = "lifetime_cost"
ESTIMATED = (
    "The run ended with an error: what the other ranks did after the last logging step is estimated from this one."
)


class InferenceAwareCost(L.Callback):
    """Ends every run with its lifetime cost: a short table, and `lifetime_cost.{json,md,png}` in the run's folder.

    What the training cost so far, what a demand will cost, and, where loss laws say something of the model, the size
    that would have been cheapest for that demand at the same quality (arXiv:2401.00448), under two laws. Counted by the
    `Meter`, which is added if the run has none; device-hours come from a journal that survives kills. Written also when
    a run is interrupted or fails, then without asking the other ranks. Works with any LightningModule.

    Args:
        demand: Units (tokens) that the model will read and write in its life, as a number or as people write it
            ("2T"); None shows 1, 10 and 100 times the units trained.
        hardware: Name of a preset in `modules.scaling.HARDWARE`; None recognises the device.
        usd_per_hour: Price of a device-hour, as a number or "$1.50/h"; None takes that of the preset.
        output_fraction: Share of the demand that is generated rather than read; 0 for models that only read.
        law_use: What loss laws say of the model, where its recipe does not tell: "applies" for a causal language model.
        laws: Names of the laws to ask, see `modules.scaling.PRESETS`; None: two that disagree.

    Raises:
        ValueError: A quantity cannot be read or is out of range, or the hardware or a law is unknown.
    """

    def __init__(
        self,
        *,
        demand: float | str | None = None,
        hardware: str | None = None,
        usd_per_hour: float | str | None = None,
        output_fraction: float = PAPER_OUTPUT_FRACTION,
        law_use: LawUse | None = None,
        laws: list[str] | None = None,
    ) -> None:
        self.demand = None if demand is None else parse_count("demand", str(demand))
        if self.demand is not None and self.demand < 0:
            raise ValueError(f"demand={demand} must not be negative")
        if not 0 <= output_fraction <= 1:
            raise ValueError(f"output_fraction={output_fraction} must lie in [0, 1]")
        self.usd_per_hour = None if usd_per_hour is None else parse_usd_per_hour("usd_per_hour", str(usd_per_hour))
        if hardware is not None:
            Hardware.preset(hardware)  # refuses a name it does not know
        self.hardware = hardware
        self.output_fraction = output_fraction
        self.law_use = law_use
        self.laws = None if laws is None else tuple(LossLaw.preset(name) for name in laws)
        self._meter: Meter | None = None
        self._paid: PaidTime | None = None
        self._final_loss: float | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
        meters = [callback for callback in callbacks if isinstance(callback, Meter)]
        if not meters:
            meters = [Meter()]
            callbacks.insert(0, meters[0])  # before those that save: what they save must hold the last step
        self._meter = meters[0]

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero:
            path = run_folder(trainer) / "paid_time.jsonl"
            self._paid = PaidTime(path, trainer.world_size, goes_on=trainer.ckpt_path is not None)
            self._paid.beat(now=True)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._paid is not None:
            self._paid.beat()

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        if self._paid is not None:
            self._paid.beat()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        loss = trainer.callback_metrics.get("val/loss")
        self._final_loss = None if loss is None else float(loss)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._meter is not None and self._meter.profile is not None:
            self._meter.read(trainer)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._report(trainer, pl_module, estimated=False)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        if self._meter is not None and self._meter.profile is not None and trainer.state.fn == "fit":
            self._meter.read(trainer, collective=False)  # the other ranks may be gone, or in another place
            self._report(trainer, pl_module, estimated=trainer.world_size > 1)

    def _report(self, trainer: L.Trainer, pl_module: L.LightningModule, *, estimated: bool) -> None:
        """Write the report on the rank that keeps the journal; what goes wrong here is told, and changes nothing."""
        if self._paid is None or self._meter is None or self._meter.profile is None or not self._meter.units:
            return  # another rank, or no step was made
        try:
            self._paid.beat(now=True)
            report = lifetime_report(self._run_cost(trainer, pl_module, self._meter, self._paid), self.laws)
            if estimated:
                report = replace(report, notes=(*report.notes, ESTIMATED))
            folder = run_folder(trainer)
            _write(report, folder)
            print(report_table(report), flush=True)
            for logger in trainer.loggers:
                logger.log_metrics(_metrics(report), step=trainer.global_step)
                log_report(logger, folder, FILE)
        except Exception as error:  # neither hide the error that ended the run nor fail a run that is done
            rank_zero_warn(f"no lifetime cost, or not all of it: {type(error).__name__}: {error}")

    def _run_cost(self, trainer: L.Trainer, pl_module: L.LightningModule, meter: Meter, paid: PaidTime) -> RunCost:
        profile = meter.profile
        assert profile is not None
        device = pl_module.device
        preset = recognise(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
        unique = getattr(getattr(trainer, "datamodule", None), "unique_units", None)
        return RunCost(
            parameters_total=profile.parameters_total,
            parameters_active=profile.parameters_active,
            units=meter.units,
            unique_units=None if unique is None else min(unique, meter.units),
            train_flops=meter.flops,
            prefill_flops=profile.prefill_flops,
            decode_flops=profile.decode_flops,
            device_hours=paid.device_hours(),
            unit=profile.unit,
            final_loss=self._final_loss,
            hardware=self.hardware or (None if preset is None else preset.name),
            usd_per_hour=self.usd_per_hour,
            precision=_precision(str(trainer.precision)),
            inference_units=self.demand,
            law_use=self.law_use or profile.law_use,
            law_note="" if self.law_use else profile.law_note,
            output_fraction=self.output_fraction,
        )


def _precision(trainer_precision: str) -> str:
    """The data type of the matrix products, as the hardware presets name it."""
    names = {"bf16": "bf16", "16": "fp16", "32": "fp32", "64": "fp64", "transformer-engine": "fp8"}
    return next(name for start, name in names.items() if trainer_precision.startswith(start))


def _write(report: LifetimeReport, folder: Path) -> None:
    with written_whole(folder / f"{FILE}.json") as path:
        path.write_text(json.dumps(report.to_dict(), indent=2) + "\n")
    with written_whole(folder / f"{FILE}.md") as path:
        path.write_text(report_markdown(report))
    draw_lifetime_cost(report, folder / f"{FILE}.png")


def _metrics(report: LifetimeReport) -> dict[str, float]:
    """What goes to the loggers: the costs of the training."""
    training = {"cost/train_flops": report.training.flops, "cost/device_hours": report.training.device_hours}
    return training if report.training.usd is None else training | {"cost/usd": report.training.usd}

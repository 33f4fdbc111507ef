"""The end of every run: what it cost, what serving it will cost, and whether its size was right for its demand.

    from modules.scaling import RunCost, lifetime_report
    lifetime_report(RunCost(parameters_total=1e8, ...)).to_dict()

Pure numbers in, plain data out: measuring them and writing them down is the caller's business. A unit is what a model
works on: a token, a task point, an environment step.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from modules.scaling.arrays import non_negative, positive
from modules.scaling.hardware import SECONDS_PER_HOUR, Hardware
from modules.scaling.law import LossLaw
from modules.scaling.presets import PRESETS
from modules.scaling.rates import FLOPS, PAPER_OUTPUT_FRACTION, CostRates
from modules.scaling.report_laws import LawAnswer, answer
from modules.scaling.report_notes import notes

LawUse = Literal["applies", "indicative", "bracket", "none"]
MULTIPLES = (1.0, 10.0, 100.0)
"""Demands shown when none is stated, in multiples of the units trained."""


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """What was measured of a run, and what is assumed of its future.

    Attributes:
        parameters_total: All parameters, embeddings included, tied weights once.
        parameters_active: Parameters at work for one unit.
        units: Real units trained on, padding not counted, repetitions counted.
        train_flops: FLOPs of the training by the model's definition.
        prefill_flops: FLOPs to read one unit.
        decode_flops: FLOPs to generate one unit.
        device_hours: Device-hours paid, lost work included.
        unit: Name of a unit.
        unique_units: Different units among them; None where all are.
        final_loss: Last validation loss in nats, for the record: laws of other text cannot be compared with it.
        hardware: Name of a preset, see `modules.scaling.HARDWARE`; None where it is unknown.
        usd_per_hour: Price of a device-hour, where it differs from the preset.
        precision: Data type of the peak that utilisation and serving refer to.
        inference_units: Stated lifetime demand; None shows 1, 10 and 100 times the units trained.
        output_fraction: Share of the demand that is generated; 0 for models that only read.
        prefill_utilization: Share of the peak reached in reading.
        decode_utilization: Share of the peak reached in generating.
        law_use: "applies" (causal LM), "indicative" (masked LM), "bracket" (MoE: between active and total parameters),
            "none".
        law_note: Why the law does not simply apply, in one sentence.
    """

    parameters_total: float
    parameters_active: float
    units: float
    train_flops: float
    prefill_flops: float
    decode_flops: float
    device_hours: float
    unit: str = "token"
    unique_units: float | None = None
    final_loss: float | None = None
    hardware: str | None = None
    usd_per_hour: float | None = None
    precision: str = "bf16"
    inference_units: float | None = None
    output_fraction: float = PAPER_OUTPUT_FRACTION
    prefill_utilization: float = 0.5
    decode_utilization: float = 0.01
    law_use: LawUse = "applies"
    law_note: str = ""

    def __post_init__(self) -> None:
        for name in ("parameters_total", "parameters_active", "prefill_utilization", "decode_utilization"):
            positive(name, getattr(self, name))
        for name in ("units", "train_flops", "prefill_flops", "decode_flops", "device_hours", "output_fraction"):
            non_negative(name, getattr(self, name))
        if self.inference_units is not None:
            non_negative("inference_units", self.inference_units)
        if self.output_fraction > 1:
            raise ValueError(f"output_fraction={self.output_fraction} must lie in [0, 1]")


@dataclass(frozen=True)
class TrainingCost:
    """What the training cost so far.

    Attributes:
        flops: FLOPs of the model's definition.
        device_hours: Device-hours paid.
        usd: Their price; None without a known price.
        utilization: Share of the devices' peak that those FLOPs are over all hours paid; None without a known device.
    """

    flops: float
    device_hours: float
    usd: float | None
    utilization: float | None


@dataclass(frozen=True)
class DemandCost:
    """What a demand costs on this model.

    Attributes:
        inference_units: The demand.
        flops: FLOPs of serving it.
        usd: Dollars of serving it; None without a known price.
        lifetime_flops: Training and serving.
        lifetime_usd: The same in dollars.
    """

    inference_units: float
    flops: float
    usd: float | None
    lifetime_flops: float
    lifetime_usd: float | None


@dataclass(frozen=True)
class LifetimeReport:
    """The report; `to_dict` gives plain data that fits `LIFETIME_COST_SCHEMA`.

    Attributes:
        run: The measured numbers.
        training: Cost of the training so far.
        demands: Cost of the stated demand, or of several when none is stated.
        flops_per_million_units: Serving a million units of the stated mix.
        usd_per_million_units: The same in dollars; None without a known price.
        objective: What the laws minimise: "USD" where a price is known, else "FLOP".
        answers: One for each law, and for a bracket one for each end.
        notes: Everything that limits these numbers, one sentence each.
    """

    run: RunCost
    training: TrainingCost
    demands: tuple[DemandCost, ...]
    flops_per_million_units: float
    usd_per_million_units: float | None
    objective: str
    answers: tuple[LawAnswer, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"schema_version": 1, **asdict(self)}


def lifetime_report(run: RunCost, laws: tuple[LossLaw, ...] | None = None) -> LifetimeReport:
    """Puts the report together.

    Args:
        run: What was measured.
        laws: Laws to ask; by default two that disagree, besiroglu2024 and sardana2024.

    Raises:
        ValueError: a quantity outside its range, or an unknown hardware name (pass None for hardware that is not on
            record).
    """
    device = None if run.hardware is None else Hardware.preset(run.hardware, usd_per_hour=run.usd_per_hour)
    training = _training(run, device)
    rates = _serving_rates(run, device, training)
    flops_each = run.prefill_flops * (1 - run.output_fraction) + run.decode_flops * run.output_fraction
    usd_each = _usd_per_unit(run, device) if rates is not None and device is not None else None
    counts = _demands(run)
    chosen = laws if laws is not None else (PRESETS["besiroglu2024"], PRESETS["sardana2024"])
    answers = tuple(
        answer(law, counted, size, run.units, run.unique_units, counts, rates or FLOPS)
        for law in chosen
        for counted, size in _sizes(run)
    )
    return LifetimeReport(
        run=run,
        training=training,
        demands=tuple(_demand(training, count, flops_each, usd_each) for count in counts),
        flops_per_million_units=1e6 * flops_each,
        usd_per_million_units=None if usd_each is None else 1e6 * usd_each,
        objective=(rates or FLOPS).unit,
        answers=answers,
        notes=notes(run, device, rates, answers),
    )


def _demands(run: RunCost) -> list[float]:
    if run.inference_units is not None:
        return [run.inference_units]
    return [run.units * multiple for multiple in MULTIPLES] if run.units else []


def _training(run: RunCost, device: Hardware | None) -> TrainingCost:
    price = run.usd_per_hour if device is None else device.usd_per_hour
    peak = None if device is None else device.peak_flops_per_s.get(run.precision)
    utilization = None
    if peak is not None and run.device_hours > 0:
        utilization = run.train_flops / (run.device_hours * SECONDS_PER_HOUR * peak)
    usd = None if price is None else price * run.device_hours
    return TrainingCost(run.train_flops, run.device_hours, usd, utilization)


def _serving_rates(run: RunCost, device: Hardware | None, training: TrainingCost) -> CostRates | None:
    """Dollars per FLOP of training as it went and of serving on that device; None where price or peak is not known."""
    if device is None or device.usd_per_hour is None or run.precision not in device.peak_flops_per_s:
        return None
    if not training.utilization:
        return None
    return CostRates.dollars(
        train_usd_per_flop=device.usd_per_flop(run.precision),
        inference_usd_per_flop=device.usd_per_flop(run.precision),
        output_fraction=run.output_fraction,
        train_utilization=min(training.utilization, 1.0),
        prefill_utilization=run.prefill_utilization,
        decode_utilization=run.decode_utilization,
    )


def _usd_per_unit(run: RunCost, device: Hardware) -> float:
    price = device.usd_per_flop(run.precision)
    read = run.prefill_flops * (1 - run.output_fraction) / run.prefill_utilization
    written = run.decode_flops * run.output_fraction / run.decode_utilization
    return price * (read + written)


def _demand(training: TrainingCost, units: float, flops_each: float, usd_each: float | None) -> DemandCost:
    usd = None if usd_each is None else units * usd_each
    total = None if usd is None or training.usd is None else training.usd + usd
    return DemandCost(units, units * flops_each, usd, training.flops + units * flops_each, total)


def _sizes(run: RunCost) -> tuple[tuple[str, float], ...]:
    if run.law_use == "none" or run.units == 0:
        return ()
    if run.law_use == "bracket":
        return (("active", run.parameters_active), ("total", run.parameters_total))
    return (("total", run.parameters_total),)

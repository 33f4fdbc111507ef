"""Accelerators: what they compute per second, hold in memory and cost per hour. Prices move: pass your own."""

import difflib
import re
from dataclasses import dataclass, replace

from modules.scaling.arrays import positive

SECONDS_PER_HOUR = 3600.0
GIB = 2.0**30


@dataclass(frozen=True)
class Hardware:
    """One accelerator.

    Attributes:
        name: Short name, lower case.
        peak_flops_per_s: Dense peak of each data type ("bf16", "fp8", "int8"), FLOP/s.
        memory_bytes: Device memory.
        usd_per_hour: Price of an hour of one device; None where no price is on record.
        source: Where price and peaks come from, with the date of the price.
    """

    name: str
    peak_flops_per_s: dict[str, float]
    memory_bytes: float
    usd_per_hour: float | None
    source: str

    @staticmethod
    def preset(name: str, *, usd_per_hour: float | None = None) -> "Hardware":
        """A known accelerator, at another price if one is given.

        Raises:
            ValueError: unknown name; the message lists the known ones.
        """
        found = HARDWARE.get(name.lower())
        if found is None:
            near = difflib.get_close_matches(name.lower(), HARDWARE, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"hardware={name!r} is unknown: {hint}known are {', '.join(HARDWARE)}")
        if usd_per_hour is None:
            return found
        price = float(positive("usd_per_hour", usd_per_hour))
        return replace(found, usd_per_hour=price, source=f"{found.source}; price given by the user")

    def usd_per_flop(self, precision: str) -> float:
        """C: dollars per FLOP at full utilisation (arXiv:2401.00448, section 3).

        Raises:
            ValueError: no price or no such precision on record.
        """
        if self.usd_per_hour is None:
            raise ValueError(
                f"hardware={self.name} has no price on record: give one, as in "
                f"Hardware.preset({self.name!r}, usd_per_hour=2.0)"
            )
        return self.usd_per_hour / (SECONDS_PER_HOUR * self.peak(precision))

    def peak(self, precision: str) -> float:
        """Dense peak FLOP/s of a data type.

        Raises:
            ValueError: the device does not compute in it.
        """
        if precision not in self.peak_flops_per_s:
            known = ", ".join(self.peak_flops_per_s)
            raise ValueError(f"precision={precision!r} is not on record for {self.name}: known are {known}")
        return self.peak_flops_per_s[precision]

    def max_parameters(self, *, bytes_per_parameter: float, num_devices: int = 1, weight_share: float = 0.8) -> float:
        """Largest model whose weights fit.

        Args:
            bytes_per_parameter: 2 for bf16, 1 for int8 and fp8.
            num_devices: Devices that share the weights.
            weight_share: Share of the memory that weights may take; the rest is for the cache and activations.
        """
        return float(self.memory_bytes * num_devices * positive("weight_share", weight_share) / bytes_per_parameter)


_PAPER = "price: arXiv:2401.00448, app. B.3 and Fig. 6 (July 2024); peaks: vendor's data sheet, dense"
_SHEET = "no price on record; peaks: vendor's data sheet, dense"

_DEVICES = (
    Hardware("a100-80", {"bf16": 3.12e14, "int8": 6.24e14}, 80 * GIB, 1.50, _PAPER),
    Hardware("a100-40", {"bf16": 3.12e14, "int8": 6.24e14}, 40 * GIB, 1.10, _PAPER),
    Hardware("h100", {"bf16": 9.89e14, "fp8": 1.978e15, "int8": 1.978e15}, 80 * GIB, 2.00, _PAPER),
    Hardware("h100-pcie", {"bf16": 7.56e14, "fp8": 1.513e15, "int8": 1.513e15}, 80 * GIB, None, _SHEET),
    Hardware("h200", {"bf16": 9.89e14, "fp8": 1.978e15, "int8": 1.978e15}, 141e9, None, _SHEET),
    Hardware("l4", {"bf16": 1.21e14, "fp8": 2.42e14, "int8": 2.42e14}, 24 * GIB, None, _SHEET),
    Hardware("l40s", {"bf16": 3.62e14, "fp8": 7.33e14, "int8": 7.33e14}, 48 * GIB, None, _SHEET),
    Hardware("v100", {"fp16": 1.25e14}, 32 * GIB, None, _SHEET),
)

HARDWARE: dict[str, Hardware] = {device.name: device for device in _DEVICES}
"""Known accelerators by name."""

# As drivers name the devices; the first pattern that matches counts, so the special one stands before the general one.
_DEVICE_NAMES = (
    (r"A100.*80GB", "a100-80"),
    (r"A100.*40GB", "a100-40"),
    (r"H100 PCIe", "h100-pcie"),
    (r"H100 (80GB HBM3|SXM)", "h100"),
    (r"H200( SXM|$)", "h200"),
    (r"L40S", "l40s"),
    (r"\bL4$", "l4"),
    (r"V100.*32GB", "v100"),
)


def recognise(device_name: str) -> Hardware | None:
    """The preset of a device as its driver names it ("NVIDIA A100-SXM4-80GB"); None where none is on record.

    A MIG slice has a part of the peak, memory and price of its device: none of them is on record.
    """
    if re.search(r"\bMIG\b", device_name):
        return None
    for pattern, preset in _DEVICE_NAMES:
        if re.search(pattern, device_name):
            return HARDWARE[preset]
    return None

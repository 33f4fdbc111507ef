"""Dense peak of devices, the denominator of MFU (model FLOPs utilisation).

TFLOP/s without structured sparsity, from the vendor's data sheets: NVIDIA A100 (2021), H100 (2023), H200 (2024), B200
(2024), L4 (2023), L40S (2023), A10 (2021), V100 (2020), T4 (2019); GeForce RTX 4090 and 3090: the Ada (2022) and
Ampere GA102 (2021) white papers, tensor cores accumulating in fp32. The 16-bit peaks of devices that
`modules.scaling.HARDWARE` lists come from there, so that MFU and the cost report cannot contradict each other.
"""

import torch

from modules.scaling import HARDWARE


def _recorded(preset: str, data_type: str = "bf16") -> float:
    return HARDWARE[preset].peak_flops_per_s[data_type] / 1e12


_TFLOPS: dict[str, dict[str, float]] = {
    # The longer name comes first where one is the beginning of another.
    "B200": {"16": 2250, "tf32": 1125},
    "GH200": {"16": _recorded("h100"), "tf32": 494.7, "fp32": 67},
    "H200 NVL": {"16": 835.5, "tf32": 417.7, "fp32": 60},
    "H200": {"16": _recorded("h200"), "tf32": 494.7, "fp32": 67},
    "H100 NVL": {"16": 835.5, "tf32": 417.7, "fp32": 60},
    "H100 PCIe": {"16": _recorded("h100-pcie"), "tf32": 378, "fp32": 51},
    "H100": {"16": _recorded("h100"), "tf32": 494.7, "fp32": 67},
    "A100": {"16": _recorded("a100-80"), "tf32": 156, "fp32": 19.5},
    "A10": {"16": 125, "tf32": 62.5, "fp32": 31.2},
    "L40S": {"16": _recorded("l40s"), "tf32": 183, "fp32": 91.6},
    "L4": {"16": _recorded("l4"), "tf32": 60, "fp32": 30.3},
    "RTX 4090": {"16": 165.2, "tf32": 82.6, "fp32": 82.6},
    "RTX 3090": {"16": 71, "tf32": 35.6, "fp32": 35.6},
    "V100 SXM2": {"fp16": _recorded("v100", "fp16"), "fp32": 15.7},
    "T4": {"fp16": 65, "fp32": 8.1},
}


_SLOWER_EDITIONS = {"Laptop", "D", "MIG"}
"""Words in the names of devices that have less than the peak of their namesakes."""


def peak_flops_per_s(device: torch.device, precision: str) -> float | None:
    """Dense peak of one device in FLOP/s, or None if it is not known (MFU is then not reported).

    Args:
        device: Where the model runs.
        precision: Precision of the matrix products, as Lightning names it: "bf16-mixed", "16-true", "32-true", ...
    """
    if device.type != "cuda":
        return None
    return named_peak_flops_per_s(torch.cuda.get_device_name(device), _arithmetic(precision))


def named_peak_flops_per_s(device_name: str, arithmetic: str) -> float | None:
    """The same for a device's name ("NVIDIA H100 80GB HBM3") and "bf16", "fp16", "tf32" or "fp32"."""
    words = device_name.replace("-", " ").split()
    if _SLOWER_EDITIONS.intersection(words):
        return None
    for name, peaks in _TFLOPS.items():
        if _is_part(name.split(), words):
            tflops = peaks.get(arithmetic, peaks.get("16") if arithmetic in ("bf16", "fp16") else None)
            return None if tflops is None else tflops * 1e12
    return None


def _is_part(name: list[str], words: list[str]) -> bool:
    """Whole words: "A10" is not in "A100", nor "L4" in "L40S"."""
    return all(word in words for word in name)


def _arithmetic(precision: str) -> str:
    if precision.startswith("bf16"):
        return "bf16"
    if precision.startswith("16"):
        return "fp16"
    if precision.startswith("32"):
        return "fp32" if torch.get_float32_matmul_precision() == "highest" else "tf32"
    return precision

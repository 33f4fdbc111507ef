"""What a FLOP costs in training and in serving: the bridge between the FLOP problem and the dollar problem.

Both are `minimise 6 w_train N (D + K)` with K = D_inf w_inference / (3 w_train); in FLOPs both weights are one
(arXiv:2401.00448, eq. 2 and 5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from modules.scaling.arrays import FloatArray, non_negative, positive
from modules.scaling.hardware import Hardware

PAPER_OUTPUT_FRACTION = 215 / 285
"""Share of generated tokens in the paper's requests: 70 in, 215 out, the means of LMSYS-Chat-1M."""


@dataclass(frozen=True)
class CostRates:
    """Cost of one FLOP, utilisation included.

    Attributes:
        train: w_train = C_train / U_train.
        inference: w_inference, averaged over the tokens read and the tokens written.
        unit: "FLOP" or "USD".
    """

    train: float = 1.0
    inference: float = 1.0
    unit: str = "FLOP"

    def __post_init__(self) -> None:
        positive("train cost per FLOP", self.train)
        positive("inference cost per FLOP", self.inference)

    @classmethod
    def dollars(
        cls,
        *,
        train_usd_per_flop: float,
        inference_usd_per_flop: float,
        output_fraction: float = PAPER_OUTPUT_FRACTION,
        train_utilization: float = 0.5,
        prefill_utilization: float = 0.5,
        decode_utilization: float = 0.01,
    ) -> CostRates:
        """Rates from prices per FLOP at full utilisation; the defaults are the paper's.

        Args:
            train_usd_per_flop: C_tr, see `Hardware.usd_per_flop`.
            inference_usd_per_flop: C_inf.
            output_fraction: Share of the inference tokens that are generated; the others are only read. To count k
                samples per query multiply the generated tokens by k.
            train_utilization: U_tr, share of the peak that training reaches (MFU).
            prefill_utilization: U_in, the same for reading a prompt.
            decode_utilization: U_out, the same for generating.

        Raises:
            ValueError: a share lies outside its range.
        """
        if not 0 <= output_fraction <= 1:
            raise ValueError(f"output_fraction={output_fraction} must lie in [0, 1]")
        for name, value in (
            ("train", train_utilization),
            ("prefill", prefill_utilization),
            ("decode", decode_utilization),
        ):
            if not 0 < value <= 1:
                raise ValueError(f"{name}_utilization={value} must lie in (0, 1]")
        token = (1 - output_fraction) / prefill_utilization + output_fraction / decode_utilization
        return cls(train_usd_per_flop / train_utilization, inference_usd_per_flop * token, "USD")

    @classmethod
    def of_hardware(
        cls, train: Hardware, inference: Hardware, *, train_precision: str, inference_precision: str, **shares: float
    ) -> CostRates:
        """Rates from two devices; `shares` are the output fraction and the utilisations of `dollars`."""
        return cls.dollars(
            train_usd_per_flop=train.usd_per_flop(train_precision),
            inference_usd_per_flop=inference.usd_per_flop(inference_precision),
            **shares,
        )

    def training_tokens(self, inference_tokens: ArrayLike) -> FloatArray:
        """K: the training tokens that cost as much, at any size of the model, as serving these tokens."""
        return non_negative("inference_tokens", inference_tokens) * (self.inference / (3 * self.train))

    def inference_tokens(self, training_tokens: ArrayLike) -> FloatArray:
        """The inverse of `training_tokens`; a negative K stays negative."""
        return np.asarray(training_tokens, dtype=np.float64) * (3 * self.train / self.inference)


FLOPS = CostRates()
"""Every FLOP counts the same: the paper's first objective, and the default."""

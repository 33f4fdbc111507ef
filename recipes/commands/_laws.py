"""Loss laws by name or from a file that `galley fit-law` wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from modules.scaling import LawFit, LossLaw

SYMBOLS = ("E", "A", "B", "alpha", "beta")


def find_law(name: str) -> LossLaw:
    """A preset, or the law in a JSON file.

    Raises:
        ValueError: neither a known name nor a readable file of a law.
    """
    if not name.endswith(".json"):
        return LossLaw.preset(name)
    path = Path(name)
    if not path.is_file():
        raise ValueError(f"law={name}: there is no such file; write one with galley fit-law RUNS.csv, or name a preset")
    try:
        stored = json.loads(path.read_text())["law"]
        E, A, B, alpha, beta = (float(stored[symbol]) for symbol in SYMBOLS)
        sizes, tokens = _range(stored["parameters_range"]), _range(stored["tokens_range"])
        samples = np.array(stored["samples"]) if stored["samples"] else None
        return LossLaw(E, A, B, alpha, beta, stored["name"], stored["source"], sizes, tokens, samples)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"law={name} is no file of galley fit-law: {type(error).__name__} {error}") from None


def fit_as_dict(fit: LawFit) -> dict[str, Any]:
    """Plain data of a fit; `find_law` reads it back."""
    law = fit.law
    return {
        "law": {
            "name": law.name,
            "source": law.source,
            **dict(zip(SYMBOLS, law.coefficients, strict=True)),
            "parameters_range": law.parameters_range,
            "tokens_range": law.tokens_range,
            "samples": None if law.samples is None else law.samples.tolist(),
        },
        "huber_sum": fit.huber_sum,
        "num_runs": fit.num_runs,
        "mean_absolute_error": fit.mean_absolute_error,
        "agreeing_share": fit.agreeing_share,
    }


def _range(bounds: list[float]) -> tuple[float, float]:
    low, high = bounds
    return float(low), float(high)

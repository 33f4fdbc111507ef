"""How sure an answer is: any function of a law, evaluated on the joint bootstrap samples of its coefficients.

Coefficients of a loss law are strongly correlated: drawing them independently from published standard errors gives
nonsense, so that a law without samples gets no interval.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from modules.scaling.arrays import FloatArray
from modules.scaling.law import LossLaw


def interval(
    law: LossLaw, answer: Callable[[LossLaw], ArrayLike], *, level: float = 0.8
) -> tuple[FloatArray, FloatArray]:
    """Percentile interval of an answer.

    Args:
        law: A law with bootstrap samples, as `fit_law` returns it.
        answer: From a law to numbers, for example `lambda law: lifetime_optimum(law, ...).parameters`.
        level: Share of the samples inside the interval.

    Returns:
        Lower and upper end, shaped as the answer. Samples under which the answer does not exist (a quality
        out of reach, or beyond the range of numbers) are left out.

    Raises:
        ValueError: the law has no samples, or the answer exists under none of them.
    """
    if law.samples is None:
        raise ValueError(
            f"law {law.name} has no bootstrap samples: fit it to runs with fit_law(..., num_bootstrap=200)"
        )
    answers = []
    for sample in law.samples:
        try:
            with np.errstate(over="raise", divide="raise", invalid="raise"):
                answers.append(np.asarray(answer(_with_coefficients(law, sample)), dtype=np.float64))
        except (ValueError, FloatingPointError):
            continue
    if not answers:
        raise ValueError(f"law {law.name}: the answer exists under none of its {len(law.samples)} bootstrap samples")
    low, high = np.quantile(np.stack(answers), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def _with_coefficients(law: LossLaw, sample: FloatArray) -> LossLaw:
    E, A, B, alpha, beta = map(float, sample)
    return replace(law, E=E, A=A, B=B, alpha=alpha, beta=beta, samples=None)

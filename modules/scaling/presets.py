"""Published loss laws, each with its source. They disagree: look at two before you spend money.

Losses of different laws cannot be compared, as they were measured on different text with different tokenizers; sizes,
tokens and savings can. The refits of the 47 runs are unrounded fits of our own (`galley fit-law`): the two-decimal
coefficients that the paper prints miss the runs by 0.17 nats.
"""

import difflib
from math import exp

from modules.scaling.law import LossLaw

# arXiv:2203.15556, abstract: models from 70 million to over 16 billion parameters on 5 to 500 billion tokens.
_HOFFMANN_SIZES, _HOFFMANN_TOKENS = (7e7, 1.6e10), (5e9, 5e11)
_SARDANA_SIZES = (1.51e8, 6.05e9)

_LAWS = (
    LossLaw(
        1.8172, 482.01, 2085.43, 0.3478, 0.3658, "besiroglu2024",
        "arXiv:2404.10102, replication of approach 3 of Hoffmann et al. on 240 runs; N with embeddings",
        _HOFFMANN_SIZES, _HOFFMANN_TOKENS,
    ),
    LossLaw(
        1.69, 406.4, 410.7, 0.336, 0.283, "sardana2024",
        "arXiv:2401.00448, coefficients of the authors' code (after a blog post of H. de Vries); N with embeddings",
        _HOFFMANN_SIZES, _HOFFMANN_TOKENS,
    ),
    LossLaw(
        1.69, 406.4, 410.7, 0.34, 0.28, "hoffmann2022",
        "arXiv:2203.15556, eq. 10 as printed: exponents rounded to two digits; N with embeddings",
        _HOFFMANN_SIZES, _HOFFMANN_TOKENS,
    ),
    LossLaw(
        1.6934, 406.4, 410.7, 0.3392, 0.2849, "hoffmann2022-tex",
        "arXiv:2203.15556, unrounded values in the TeX source, reported by arXiv:2404.10102; N with embeddings",
        _HOFFMANN_SIZES, _HOFFMANN_TOKENS,
    ),
    LossLaw(
        exp(0.6254804), exp(6.255414), exp(7.3049974), 0.3526596, 0.3526596, "muennighoff2023",
        "arXiv:2305.16264, appendix B: C4, unrounded, both exponents equal; N with embeddings",
    ),
    LossLaw(
        1.46296, 35.3883, 133.020, 0.17884, 0.23160, "sardana2024-all",
        "our refit of all 47 runs of arXiv:2401.00448 (10 to 10000 tokens per parameter), Huber sum 6.1998e-4",
        _SARDANA_SIZES, (1.51e9, 1.51e12),
    ),
    LossLaw(
        0.94573, 17.0721, 35.8093, 0.13213, 0.15774, "sardana2024-500",
        "our refit of the 43 runs of arXiv:2401.00448 with at most 500 tokens per parameter, Huber sum 3.9180e-4",
        _SARDANA_SIZES, (1.51e9, 1.23e12),
    ),
    LossLaw(
        0.15315, 7.1445, 26.0003, 0.07679, 0.12575, "sardana2024-100",
        "our refit of the 34 runs of arXiv:2401.00448 with at most 100 tokens per parameter, Huber sum 2.1921e-4",
        _SARDANA_SIZES, (1.51e9, 2.46e11),
    ),
    LossLaw(
        0.47, 16.3, 26.7, 0.126, 0.127, "krajewski2024",
        "arXiv:2402.07871, the dense baseline of the fine-grained MoE law; N without embeddings",
    ),
)  # fmt: skip

PRESETS: dict[str, LossLaw] = {law.name: law for law in _LAWS}
"""Every published law by name; the first is the default of `galley plan`."""


def find_preset(name: str) -> LossLaw:
    """The preset of that name.

    Raises:
        ValueError: there is none; the message proposes the nearest names.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"law={name!r} is unknown: {hint}known are {', '.join(PRESETS)}")
    return PRESETS[name]

"""Refusing NaN and infinity in few-shot tasks, before they spread into every score and weight."""

from __future__ import annotations

import torch

from modules.contracts import FewShotTasks

MAX_NAMED = 3
"""Tasks that a message names."""


def check_finite(tasks: FewShotTasks) -> None:
    """Refuse tasks with NaN or infinity.

    Raises:
        ValueError: A value, of filler points too, is not finite.
    """
    for name in ("support_x", "support_y", "query_x", "query_y"):
        values = getattr(tasks, name)
        if not torch.isfinite(values.sum()):  # one sum is cheaper than a look at each value
            bad = (~torch.isfinite(values)).flatten(1).any(dim=1).nonzero().flatten().tolist()
            if bad:
                raise ValueError(
                    f"{name} of {len(bad)} of {len(values)} tasks of a batch is NaN or infinite (tasks "
                    f"{', '.join(map(str, bad[:MAX_NAMED]))}{', ...' if len(bad) > MAX_NAMED else ''}): "
                    "remove those points from the data, or mask them and set them to 0"
                )

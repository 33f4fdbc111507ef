"""What a batch holds, for LightningModules that tell it and for those that do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import lightning as L
from lightning.pytorch.utilities.data import extract_batch_size
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor

CountUnits = Callable[[Any], int | Tensor]
"""Units in a batch of this rank; a tensor stays on its device until the next logging step."""


def choose_units(module: L.LightningModule, batch: Any) -> tuple[str, CountUnits]:
    """How the work in batches like this one is counted.

    Returns:
        The name of a unit, and what counts it: the module's own `count_units`; the real tokens where the batch has an
        `attention_mask`; else the examples; else, in a batch that nobody can look into, the batches.
    """
    own: CountUnits | None = getattr(module, "count_units", None)
    if own is not None:
        return "unit", own
    if isinstance(batch, Mapping) and isinstance(batch.get("attention_mask"), Tensor):
        return "token", lambda batch: batch["attention_mask"].sum()
    try:
        extract_batch_size(batch)
    except MisconfigurationException:
        return "batch", lambda _: 1
    return "example", extract_batch_size

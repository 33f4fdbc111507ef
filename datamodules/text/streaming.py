"""Documents from a `litdata` folder or bucket. Imported only where it is used: `litdata` is heavy."""

from __future__ import annotations

import copy
import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from litdata import StreamingDataLoader, StreamingDataset

from modules.contracts import RaggedText

from .masked_batches import BatchMaker
from .tokenized_texts import TokenizedTexts

NumberedDocument = tuple[int, int, np.ndarray]
"""Number of a document in the data set, epoch it is seen in, and its token ids."""

KEPT_STATES = 4
"""Loaders are read at most one step ahead, so that the step trained on last is always among the kept ones."""


class NumberedDocuments(StreamingDataset):
    """A streaming data set whose items know their number and epoch, so that masks can depend on them."""

    def __getitem__(self, index: Any) -> NumberedDocument:
        number = index if isinstance(index, int) else index.index
        return number, self.current_epoch, np.asarray(super().__getitem__(index))


@dataclass(frozen=True)
class MaskedCollate:
    """Makes a masked micro-batch of some documents.

    Attributes:
        maker: Makes the batches.
        rate: Share of the ordinary tokens that is masked.
        fixed: Whether masks are the same in every epoch.
    """

    maker: BatchMaker
    rate: float
    fixed: bool

    def __call__(self, items: list[NumberedDocument]) -> RaggedText:
        numbers, epochs, documents = zip(*items, strict=True)
        offsets = np.cumsum([0, *map(len, documents)])
        source = TokenizedTexts(np.concatenate(documents).astype(np.int64), offsets)
        epochs_N = np.zeros(len(items), dtype=np.int64) if self.fixed else np.array(epochs)
        return self.maker.make(source, np.arange(len(items)), np.array(numbers), epochs_N, self.rate)


class EndlessLoader:
    """Reads a streaming loader epoch after epoch, in steps, and remembers its state after the last of them.

    Args:
        loader: The loader of micro-batches.
        batches_per_step: Micro-batches of an optimizer step.
        state: State to go on from, as `state_after` gave it; None starts at the beginning.
    """

    def __init__(self, loader: StreamingDataLoader, batches_per_step: int, state: dict[str, Any] | None) -> None:
        self._loader = loader
        self._batches_per_step = batches_per_step
        self._states = deque([(0, state)], maxlen=KEPT_STATES)
        if state is not None:
            loader.load_state_dict(copy.deepcopy(state))

    def __iter__(self) -> Iterator[list[RaggedText]]:
        endless = itertools.chain.from_iterable(itertools.repeat(self._loader))
        for num_steps in itertools.count(1):
            step = list(itertools.islice(endless, self._batches_per_step))
            self._states.append((num_steps, copy.deepcopy(self._loader.state_dict())))
            yield step

    def state_after(self, num_steps: int) -> dict[str, Any] | None:
        """State of the loader after the first `num_steps` steps it gave."""
        return next(state for number, state in self._states if number == num_steps)

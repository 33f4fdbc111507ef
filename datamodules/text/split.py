"""Documents of one store parted into training and held-out ones, without a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Split:
    """One side of a store. The held-out documents stand at even distances, so that they come from all over the corpus.

    Attributes:
        num_documents: Documents of the whole store.
        num_held_out: How many of them are held out.
        held_out: Which side this is.

    Raises:
        ValueError: No more documents are held out than half of the store.
    """

    num_documents: int
    num_held_out: int
    held_out: bool

    def __post_init__(self) -> None:
        if not 0 <= self.num_held_out <= self.num_documents // 2:
            raise ValueError(
                f"num_held_out={self.num_held_out} must be between 0 and half of the {self.num_documents} documents"
            )

    def __len__(self) -> int:
        return self.num_held_out if self.held_out else self.num_documents - self.num_held_out

    def numbers(self, places: np.ndarray) -> np.ndarray:
        """Store numbers of the documents at places of this side; grows with the place.

        Args:
            places: int64[N] in [0, len(self)).

        Returns:
            int64[N] in [0, num_documents).
        """
        if not self.num_held_out:
            return places
        stride = self.num_documents // self.num_held_out
        if self.held_out:
            return places * stride + stride // 2
        blocks = np.minimum(places // (stride - 1), self.num_held_out)
        inside = places - blocks * (stride - 1)
        return blocks * stride + inside + ((blocks < self.num_held_out) & (inside >= stride // 2))

"""A data set of the Hugging Face hub as a corpus, by the `datasets` library."""

from collections.abc import Iterator
from typing import Any

from .corpus import Corpus, Piece

PIECE_ROWS = 50_000
"""Rows one process reads at a time."""


class HuggingFace(Corpus):
    """One document a row of a data set that `datasets` has put on this disk (it downloads it at first use).

    Args:
        path: Name on the hub, for example "allenai/c4" or "nyu-mll/glue".
        name: Configuration of the data set, for example "en".
        split: Which split.
        column: Name of the column that holds the text.
        revision: Commit, tag or branch of the data set; pin it where runs must be repeatable.
    """

    def __init__(
        self,
        path: str,
        *,
        name: str | None = None,
        split: str = "train",
        column: str = "text",
        revision: str | None = None,
    ) -> None:
        self.path = path
        self.name = name
        self.split = split
        self.column = column
        self.revision = revision

    def pieces(self) -> list[Piece]:
        """Ranges of rows.

        Raises:
            ValueError: The data set has no such column.
            ImportError: `datasets` is missing.
        """
        rows = self._load()
        if self.column not in rows.column_names:
            raise ValueError(f"{self.path}: column={self.column!r} is not among its columns {rows.column_names}")
        row_bytes = max(1, (rows.info.dataset_size or 0) // max(1, len(rows)))
        ranges = [(start, min(start + PIECE_ROWS, len(rows))) for start in range(0, len(rows), PIECE_ROWS)]
        return [Piece(self.path, start, stop, (stop - start) * row_bytes) for start, stop in ranges]

    def read(self, piece: Piece) -> Iterator[str]:
        """The texts of a range of rows; nulls are blank."""
        rows = self._load().select_columns([self.column]).select(range(piece.start, piece.stop))
        return (row[self.column] or "" for row in rows)

    def identity(self) -> Iterator[str]:
        """What was asked for, and the fingerprint `datasets` gives to what it read."""
        yield from (self.path, str(self.name), self.split, self.column, str(self.revision), self._load()._fingerprint)

    def _load(self) -> Any:
        try:
            from datasets import load_dataset
        except ImportError:
            raise ImportError("datamodules.text.HuggingFace needs datasets: pip install datasets") from None
        return load_dataset(self.path, self.name, split=self.split, revision=self.revision)

"""Parquet files as a corpus, read row group by row group."""

from collections.abc import Iterator, Sequence
from types import ModuleType

from .corpus import Piece
from .files import FileCorpus


class Parquet(FileCorpus):
    """One document a row.

    Args:
        paths: Files or patterns, for example "fineweb/*.parquet".
        column: Name of the column that holds the text.
    """

    def __init__(self, paths: str | Sequence[str], *, column: str = "text") -> None:
        super().__init__(paths)
        self.column = column

    def settings(self) -> dict[str, str]:
        """The name of the column."""
        return {"column": self.column}

    def pieces(self) -> list[Piece]:
        """The row groups of each file.

        Raises:
            ValueError: A file has no such column.
            ImportError: `pyarrow` is missing.
        """
        parquet = _pyarrow_parquet()
        pieces: list[Piece] = []
        for path in self.files():
            metadata = parquet.read_metadata(path)
            columns = metadata.schema.to_arrow_schema().names
            if self.column not in columns:
                raise ValueError(f"{path}: column={self.column!r} is not among its columns {columns}")
            for group in range(metadata.num_row_groups):
                pieces.append(Piece(str(path), group, group + 1, metadata.row_group(group).total_byte_size))
        return pieces

    def read(self, piece: Piece) -> Iterator[str]:
        """The texts of one row group; nulls are blank."""
        with _pyarrow_parquet().ParquetFile(piece.source) as file:
            for batch in file.iter_batches(row_groups=range(piece.start, piece.stop), columns=[self.column]):
                yield from (text or "" for text in batch.column(0).to_pylist())


def _pyarrow_parquet() -> ModuleType:
    try:
        import pyarrow.parquet
    except ImportError:
        raise ImportError("datamodules.text.Parquet needs pyarrow: pip install pyarrow") from None
    return pyarrow.parquet

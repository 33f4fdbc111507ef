"""JSON Lines as a corpus, gzipped or not: the form in which C4 and most web corpora are shipped."""

import gzip
import json
from collections.abc import Iterator, Sequence

from .corpus import Piece
from .files import FileCorpus, decode, line_ranges, read_lines, whole_file

GZIP_RATIO = 3
"""About how much text a byte of gzipped web text holds; only moves the progress bar."""


class JsonLines(FileCorpus):
    """One JSON object a line, one document an object.

    Args:
        paths: Files or patterns, for example "c4/en/c4-train.*.json.gz". Names ending in `.gz` are unzipped while read.
        field: Key of the text inside each object.
    """

    def __init__(self, paths: str | Sequence[str], *, field: str = "text") -> None:
        super().__init__(paths)
        self.field = field

    def settings(self) -> dict[str, str]:
        """The key of the text."""
        return {"field": self.field}

    def pieces(self) -> list[Piece]:
        """Ranges of lines of plain files; gzipped files whole, as they cannot be entered in the middle."""
        pieces: list[Piece] = []
        for path in self.files():
            if path.suffix == ".gz":
                packed = whole_file(path)
                pieces.append(Piece(packed.source, packed.start, packed.stop, packed.num_bytes * GZIP_RATIO))
            else:
                pieces.extend(line_ranges(path))
        return pieces

    def read(self, piece: Piece) -> Iterator[str]:
        """The texts of one piece.

        Raises:
            ValueError: A line is no JSON object, has no such field, or holds something else than text there.
        """
        lines = _gzip_lines(piece.source) if piece.source.endswith(".gz") else read_lines(piece)
        return (self._text(line, piece.source) for line in lines if line)

    def _text(self, line: str, source: str) -> str:
        try:
            text = json.loads(line)[self.field]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{source}: no field={self.field!r} in {line[:60]!r} ({type(error).__name__})") from None
        if not isinstance(text, str):
            raise ValueError(f"{source}: field={self.field!r} holds {type(text).__name__}, it must hold text")
        return text


def _gzip_lines(source: str) -> Iterator[str]:
    with gzip.open(source, "rb") as file:
        for line in file:
            yield decode(line, source).rstrip("\r\n")

"""Plain text files as a corpus: a document is a file, a paragraph or a line."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Literal

from .corpus import Piece
from .files import FileCorpus, decode, line_ranges, read_lines, whole_file


class TextFiles(FileCorpus):
    """Plain UTF-8 text.

    Args:
        paths: Files or patterns (`**` matches folders), read in the given order.
        document: What one document is: a "file", a "paragraph" (blank lines part them) or a "line".
    """

    def __init__(
        self, paths: str | Sequence[str], *, document: Literal["file", "paragraph", "line"] = "paragraph"
    ) -> None:
        super().__init__(paths)
        self.document = document

    def settings(self) -> dict[str, str]:
        """What a document is."""
        return {"document": self.document}

    def pieces(self) -> list[Piece]:
        """Ranges of lines where a document is a line, whole files otherwise."""
        if self.document == "line":
            return [piece for path in self.files() for piece in line_ranges(path)]
        return [whole_file(path) for path in self.files()]

    def read(self, piece: Piece) -> Iterator[str]:
        """The files, paragraphs or lines of one piece.

        Raises:
            ValueError: The file is not UTF-8.
        """
        if self.document == "file":
            yield decode(Path(piece.source).read_bytes(), piece.source)
        elif self.document == "line":
            yield from read_lines(piece)
        else:
            for blank, lines in groupby(read_lines(piece), key=lambda line: not line.strip()):
                if not blank:
                    yield "\n".join(lines)

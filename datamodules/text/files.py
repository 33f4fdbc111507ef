"""What corpora made of files share: patterns, identity, and plain files cut into ranges of whole lines."""

import glob
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

from .corpus import Corpus, Piece

RANGE_BYTES = 2**20
"""Size of the ranges a plain file of lines is cut into, so that many processes share even a small one evenly."""


class FileCorpus(Corpus):
    """A corpus that lies in files.

    Its identity is the name, size and time of last change of each file, as for `make`: reading terabytes to notice that
    nothing changed would cost more than it gives.
    """

    def __init__(self, paths: str | Sequence[str]) -> None:
        self.paths = [paths] if isinstance(paths, str) else list(paths)
        if not self.paths:
            raise ValueError(f"{type(self).__name__}: paths is empty, it needs at least one file or pattern")

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """The options that decide what is read from the files, for the identity."""

    def files(self) -> list[Path]:
        """The files, in the order of `paths` and alphabetically inside a pattern (`**` matches folders).

        Raises:
            ValueError: A pattern matches no file.
        """
        return [path for pattern in self.paths for path in _matches(pattern, type(self).__name__)]

    def identity(self) -> Iterator[str]:
        """The settings, then name, size and time of last change of each file."""
        yield repr(sorted(self.settings().items()))
        for path in self.files():
            status = path.stat()
            yield f"{path.name} {status.st_size} {status.st_mtime_ns}"


def _matches(pattern: str, owner: str) -> list[Path]:
    found = sorted(Path(name) for name in glob.glob(pattern, recursive=True))
    files = [path for path in found if path.is_file()]
    if not files:
        raise ValueError(f"{owner}: no file matches paths={pattern!r}: give a file or a pattern such as 'c4/*.json.gz'")
    return files


def whole_file(path: Path) -> Piece:
    """A file as one piece."""
    size = path.stat().st_size
    return Piece(str(path), 0, size, size)


def line_ranges(path: Path) -> list[Piece]:
    """A plain file cut into byte ranges; a line belongs to the range its first byte lies in."""
    source, size = str(path), path.stat().st_size
    starts = range(0, max(size, 1), RANGE_BYTES)
    return [Piece(source, start, min(start + RANGE_BYTES, size), min(RANGE_BYTES, size - start)) for start in starts]


def read_lines(piece: Piece) -> Iterator[str]:
    """The lines of a byte range made by `line_ranges`, without their ends.

    Raises:
        ValueError: The file is not UTF-8.
    """
    with open(piece.source, "rb") as file:
        if piece.start:
            file.seek(piece.start - 1)
            file.readline()  # the line that began before this range
        while file.tell() < piece.stop and (line := file.readline()):
            yield decode(line, piece.source).rstrip("\r\n")


def decode(data: bytes, source: str) -> str:
    """Bytes of a file as text.

    Raises:
        ValueError: They are not UTF-8.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{source} is not UTF-8 ({error.reason}): convert it, for example with iconv") from None

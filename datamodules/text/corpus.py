"""What every corpus keeps: documents in a fixed order, in pieces that processes can read side by side."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)  # a terabyte of lines has a million of them
class Piece:
    """A part of a corpus that one process reads alone.

    Attributes:
        source: Where it lies: a file, or the name of a data set.
        start: Where it begins inside the source, in units of the corpus (bytes, row groups, rows).
        stop: Where it ends, exclusive, in the same units.
        num_bytes: About how much text it holds; only balances work and moves the progress bar.
    """

    source: str
    start: int
    stop: int
    num_bytes: int


class Corpus(ABC):
    """Documents in a fixed order. Constructing one reads nothing, so that a config can be built on any machine."""

    @abstractmethod
    def pieces(self) -> list[Piece]:
        """The parts of the corpus, in order; together they hold each document once.

        Raises:
            ValueError: The source cannot be found.
        """

    @abstractmethod
    def read(self, piece: Piece) -> Iterator[str]:
        """The texts of one piece, in order. Blank ones are dropped by `documents`."""

    @abstractmethod
    def identity(self) -> Iterator[str]:
        """Strings that change whenever the documents may have changed, and do not name the folder they lie in."""

    def documents(self, piece: Piece) -> Iterator[str]:
        """The documents of one piece, in order: its texts without blank ones."""
        return (text for text in self.read(piece) if text and not text.isspace())

    def __iter__(self) -> Iterator[str]:
        """All documents, in order."""
        for piece in self.pieces():
            yield from self.documents(piece)

    def digest(self) -> str:
        """SHA-256 over the class and its `identity`, hexadecimal: same digest, same documents in the same order."""
        sha = hashlib.sha256(type(self).__qualname__.encode())
        for part in self.identity():
            sha.update(b"\0" + part.encode())
        return sha.hexdigest()

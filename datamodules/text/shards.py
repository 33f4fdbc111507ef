"""Shards of a token store in the making: what one process tokenizes at a time, kept when the rest is killed."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .atomic import sha256_of, write_array, write_json
from .corpus import Corpus, Piece
from .tokenizers import load_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ENCODE_DOCUMENTS = 256
"""Documents handed to the tokenizer at once."""

MIN_SHARD_BYTES, MAX_SHARD_BYTES, NUM_SHARDS = 2**20, 2**28, 256
"""So many shards keep many processes busy; the sizes avoid both many files and much lost work."""


@dataclass(frozen=True)
class Shard:
    """What one process tokenizes at a time, and where it puts it.

    Attributes:
        folder: The temporary folder of the store; the tokenizer lies in it.
        number: Place of the shard among the others.
        corpus: Where the pieces are read from.
        pieces: Consecutive pieces of the corpus.
        dtype: Name of the integer type of the tokens.
    """

    folder: Path
    number: int
    corpus: Corpus
    pieces: tuple[Piece, ...]
    dtype: str

    @property
    def num_bytes(self) -> int:
        """About how much text it holds."""
        return sum(piece.num_bytes for piece in self.pieces)

    @property
    def tokens_path(self) -> Path:
        """File of the tokens, laid end to end."""
        return self._path("tokens")

    @property
    def lengths_path(self) -> Path:
        """File of the document lengths, uint32."""
        return self._path("lengths")

    @property
    def summary_path(self) -> Path:
        """File of the summary; written last, so that a shard that has one is whole."""
        return self._path("json")

    def _path(self, suffix: str) -> Path:
        # named by what is in it: work left by a version that cut the corpus otherwise is not taken for this shard
        content = hashlib.sha256(repr(self.pieces).encode()).hexdigest()[:16]
        return self.folder / f"shard-{self.number:06d}-{content}.{suffix}"

    def finished(self) -> ShardSummary | None:
        """The summary, if the shard is whole and its files are still what was written."""
        if not self.summary_path.is_file():
            return None
        summary = ShardSummary(**json.loads(self.summary_path.read_text()))
        files = {self.tokens_path: summary.tokens_sha256, self.lengths_path: summary.lengths_sha256}
        unchanged = all(path.is_file() and sha256_of(path) == checksum for path, checksum in files.items())
        return summary if unchanged else None


@dataclass(frozen=True)
class ShardSummary:
    """What is in a finished shard.

    Attributes:
        num_documents: Documents.
        num_tokens: Tokens, without any that mark the ends of documents.
        text_bytes: Bytes of the texts in UTF-8.
        tokens_sha256: Checksum of the tokens.
        lengths_sha256: Checksum of the document lengths.
    """

    num_documents: int
    num_tokens: int
    text_bytes: int
    tokens_sha256: str
    lengths_sha256: str


def plan_shards(corpus: Corpus, folder: Path, dtype: str) -> list[Shard]:
    """Groups consecutive pieces into shards, by the corpus alone, so that a second start finds the same plan."""
    pieces = corpus.pieces()
    target_bytes = min(max(sum(piece.num_bytes for piece in pieces) // NUM_SHARDS, MIN_SHARD_BYTES), MAX_SHARD_BYTES)
    groups: list[list[Piece]] = [[]]
    filled_bytes = 0
    for piece in pieces:
        if filled_bytes >= target_bytes:
            groups.append([])
            filled_bytes = 0
        groups[-1].append(piece)
        filled_bytes += piece.num_bytes
    return [Shard(folder, number, corpus, tuple(group), dtype) for number, group in enumerate(groups)]


def tokenize_shard(shard: Shard) -> ShardSummary:
    """Reads, tokenizes and writes one shard. Runs in a process of its own."""
    tokenizer = _cached_tokenizer(shard.folder / "tokenizer.json")
    documents = chain.from_iterable(shard.corpus.documents(piece) for piece in shard.pieces)
    parts: list[np.ndarray] = []
    lengths: list[int] = []
    text_bytes = 0
    while texts := list(islice(documents, ENCODE_DOCUMENTS)):
        text_bytes += sum(len(text.encode("utf-8", errors="replace")) for text in texts)
        ids = encode(tokenizer, texts)
        lengths.extend(map(len, ids))
        parts.append(np.fromiter(chain.from_iterable(ids), dtype=shard.dtype, count=sum(lengths[-len(texts) :])))
    write_array(shard.tokens_path, np.concatenate(parts) if parts else np.empty(0, shard.dtype))
    write_array(shard.lengths_path, np.array(lengths, dtype=np.uint32))
    summary = ShardSummary(
        num_documents=len(lengths),
        num_tokens=sum(lengths),
        text_bytes=text_bytes,
        tokens_sha256=sha256_of(shard.tokens_path),
        lengths_sha256=sha256_of(shard.lengths_path),
    )
    write_json(shard.summary_path, asdict(summary))
    return summary


def encode(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Token ids of each text, without the tokens that mark its ends."""
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


@functools.lru_cache(maxsize=1)
def _cached_tokenizer(path: Path) -> Tokenizer:
    return load_tokenizer(path)


def iterate_lengths(shards: list[Shard]) -> Iterator[np.ndarray]:
    """The document lengths of each shard, in order."""
    return (np.fromfile(shard.lengths_path, dtype=np.uint32) for shard in shards)

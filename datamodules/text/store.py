"""The token store: a corpus as one memory-mapped array of token ids, with offsets, checksums and its tokenizer.

A store is a folder with `tokens.bin` (uint16 or uint32), `offsets.bin` (uint64, one more than documents),
`tokenizer.json` and `meta.json`. It holds whole documents without special tokens, so that one store serves every
sequence length.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .atomic import sha256_of, write_json
from .tokenizers import load_tokenizer, tokenizer_hash

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FORMAT = 1
DATA_FILES = ("tokens.bin", "offsets.bin", "tokenizer.json")


@dataclass(frozen=True)
class StoreMeta:
    """What `meta.json` says of a store.

    Attributes:
        format: Version of the layout.
        dtype: Integer type of the tokens.
        num_documents: Documents.
        num_tokens: Tokens, special ones not counted.
        text_bytes: Bytes of the texts in UTF-8.
        unigram_entropy: Entropy of the token frequencies in nats.
        tokenizer_hash: SHA-256 of the tokenizer's canonical JSON.
        special_tokens: Spelling of the special tokens by role.
        sizes: Bytes of each data file.
        sha256: Checksum of each data file.
        source: Class and digest of the corpus, for people.
    """

    format: int
    dtype: str
    num_documents: int
    num_tokens: int
    text_bytes: int
    unigram_entropy: float
    tokenizer_hash: str
    special_tokens: dict[str, str]
    sizes: dict[str, int]
    sha256: dict[str, str]
    source: dict[str, str]

    def write(self, folder: Path) -> None:
        """Writes `meta.json`."""
        write_json(folder / "meta.json", asdict(self))


class TokenStore:
    """A store, opened for reading. Cheap to pickle: another process opens the files itself.

    Opening compares all checksums once and notes in `verified.json` what the files looked like (size, times of
    change, inode). As long as they look the same, opening again costs no reading. So every write is noticed, also one
    that restores the time of modification; a disk that changes bits behind the file system's back is not: delete
    `verified.json` to check again.

    Args:
        folder: The store.
        tokenizer_hash: Hash of the tokenizer it must have been made with; None takes any.

    Attributes:
        folder: The store.
        meta: What is in it.
        tokens: uint16 or uint32, all documents laid end to end.
        offsets: uint64[num_documents + 1], where each document starts in `tokens`.

    Raises:
        ValueError: There is no store, a file is truncated or changed, or the tokenizer is another one.
    """

    def __init__(self, folder: str | Path, *, tokenizer_hash: str | None = None) -> None:
        self.folder = Path(folder)
        self.meta = _read_meta(self.folder)
        if tokenizer_hash is not None and tokenizer_hash != self.meta.tokenizer_hash:
            raise ValueError(
                f"{self.folder}: wrong tokenizer: the store was made with {self.meta.tokenizer_hash[:12]}, "
                f"{tokenizer_hash[:12]} is asked for: prepare it again with that tokenizer"
            )
        _verify(self.folder, self.meta)
        self._map()

    def _map(self) -> None:
        # plain ndarrays over the maps: indexing np.memmap itself costs several microseconds more each time
        self.tokens = np.asarray(np.memmap(self.folder / "tokens.bin", dtype=self.meta.dtype, mode="r"))
        self.offsets = np.asarray(np.memmap(self.folder / "offsets.bin", dtype=np.uint64, mode="r"))

    def __len__(self) -> int:
        return self.meta.num_documents

    def __getitem__(self, number: int) -> np.ndarray:
        """Token ids of one whole document, without special tokens."""
        if not 0 <= number < len(self):
            raise IndexError(f"document {number} of {len(self)}")
        return self.tokens[int(self.offsets[number]) : int(self.offsets[number + 1])]

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "meta": self.meta}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()

    @property
    def digest(self) -> str:
        """SHA-256 of what the store holds, hexadecimal; the same wherever it was made and lies."""
        return hashlib.sha256(json.dumps(self.meta.sha256, sort_keys=True).encode()).hexdigest()

    def tokenizer(self) -> Tokenizer:
        """The tokenizer it was made with."""
        return load_tokenizer(self.folder / "tokenizer.json")


def _read_meta(folder: Path) -> StoreMeta:
    path = folder / "meta.json"
    if not path.is_file():
        raise ValueError(f"{folder}: no token store there: run `galley prepare` with the same config first")
    try:
        meta = json.loads(path.read_text())
        if meta.get("format") != FORMAT:
            raise ValueError(f"{path}: format={meta.get('format')} must be {FORMAT}: delete {folder}, prepare again")
        return StoreMeta(**meta)
    except (json.JSONDecodeError, AttributeError, TypeError) as error:
        raise ValueError(f"{path}: changed or truncated ({error}): delete {folder} and prepare it again") from None


def _verify(folder: Path, meta: StoreMeta) -> None:
    """Compares sizes, and checksums unless the files look as they did when that was last done."""
    for name in DATA_FILES:
        size = (folder / name).stat().st_size if (folder / name).is_file() else 0
        if size != meta.sizes[name]:
            raise ValueError(
                f"{folder / name}: truncated or grown: {size} bytes instead of {meta.sizes[name]}: "
                f"delete {folder} and prepare it again"
            )
    looks: dict[str, Any] = {name: _look(folder / name) for name in (*DATA_FILES, "meta.json")}
    stamp = folder / "verified.json"
    with contextlib.suppress(OSError, json.JSONDecodeError):
        if json.loads(stamp.read_text()) == looks:
            return
    for name in DATA_FILES:
        if sha256_of(folder / name) != meta.sha256[name]:
            raise ValueError(f"{folder / name}: changed: its checksum differs: delete {folder} and prepare it again")
    if tokenizer_hash(load_tokenizer(folder / "tokenizer.json")) != meta.tokenizer_hash:
        raise ValueError(f"{folder}: wrong tokenizer: tokenizer.json is not the one of meta.json: prepare it again")
    with contextlib.suppress(OSError):  # others' store, or a read-only or full disk: checked again at each opening
        write_json(stamp, looks)


def _look(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]

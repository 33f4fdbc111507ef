"""Makes a token store: trains or reads the tokenizer, tokenizes in parallel, and shows the store only when it is whole.

All work happens in `NAME.partial`; the last step is one rename. A start that finds a partial folder keeps the shards
whose checksums still hold. While it lasts, preparation needs twice the disk space of the store.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .atomic import sha256_of, sync_folder, write_bytes
from .corpus import Corpus
from .progress import byte_progress
from .shards import Shard, ShardSummary, iterate_lengths, plan_shards, tokenize_shard
from .store import DATA_FILES, FORMAT, StoreMeta, TokenStore
from .tokenizers import TokenizerSource, load_tokenizer, tokenizer_hash
from .workers import call_in_process, map_in_processes

log = logging.getLogger(__name__)


def store_folder(corpus: Corpus, tokenizer: TokenizerSource, root: str | Path) -> Path:
    """Where the store of a corpus and a tokenizer lies below `root`: another corpus or tokenizer has another folder."""
    key = hashlib.sha256(f"{FORMAT} {corpus.digest()} {tokenizer.digest()}".encode()).hexdigest()
    return Path(root) / f"{type(corpus).__name__}-{key[:16]}"


def prepare_store(
    corpus: Corpus, tokenizer: TokenizerSource, root: str | Path, *, num_processes: int | None = None
) -> Path:
    """Makes the store of a corpus unless it is there, and opens it once so that its checksums are compared.

    Args:
        corpus: The documents.
        tokenizer: The tokenizer, given or to be trained.
        root: Folder of all stores.
        num_processes: Processes that tokenize; None means one for each core.

    Returns:
        The folder of the store.

    Raises:
        ValueError: The corpus is empty or cannot be read, the tokenizer cannot be used, or a store is damaged.
    """
    folder = store_folder(corpus, tokenizer, root)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists() and not os.access(folder.parent, os.W_OK):  # on a read-only disk no lock can be made, or needed
        TokenStore(folder)
        return folder
    with _locked(folder.with_name(folder.name + ".lock")):
        partial = folder.with_name(folder.name + ".partial")
        if not folder.exists():
            partial.mkdir(exist_ok=True)
            _make(corpus, tokenizer, partial, folder, num_processes or os.cpu_count() or 1)
        if partial.exists():
            shutil.rmtree(partial)
        TokenStore(folder)
    return folder


def _make(corpus: Corpus, source: TokenizerSource, partial: Path, folder: Path, num_processes: int) -> None:
    tokenizer_path = partial / "tokenizer.json"
    if not tokenizer_path.exists():
        log.info("tokenizer of %s: %s", folder.name, type(source).__name__)
        call_in_process(_build_tokenizer, corpus, source, tokenizer_path)
    vocab = load_tokenizer(tokenizer_path).get_vocab(with_added_tokens=True)
    dtype = "uint16" if max(vocab.values()) < 2**16 else "uint32"
    shards = plan_shards(corpus, partial, dtype)
    summaries = _tokenize(shards, num_processes)
    if not sum(summary.num_tokens for summary in summaries):
        raise ValueError(f"{type(corpus).__name__}: there is no text in the corpus")
    whole = partial / "store"
    shutil.rmtree(whole, ignore_errors=True)
    whole.mkdir()
    _merge(shards, summaries, whole, max(vocab.values()) + 1, source, corpus)
    sync_folder(whole)
    whole.rename(folder)
    sync_folder(folder.parent)


def _build_tokenizer(corpus: Corpus, source: TokenizerSource, path: Path) -> None:
    write_bytes(path, source.build(corpus).to_str(pretty=True).encode())


def _tokenize(shards: list[Shard], num_processes: int) -> list[ShardSummary]:
    """Tokenizes the shards that are not yet whole; the summaries of all, in order."""
    summaries: dict[int, ShardSummary] = {}
    with byte_progress("Tokenizing", sum(shard.num_bytes for shard in shards)) as advance:
        for shard in shards:
            if (summary := shard.finished()) is not None:
                summaries[shard.number] = summary
                advance(shard.num_bytes)
        missing = [shard for shard in shards if shard.number not in summaries]
        for shard, summary in map_in_processes(tokenize_shard, missing, num_processes):
            summaries[shard.number] = summary
            advance(shard.num_bytes)
    return [summaries[shard.number] for shard in shards]


def _merge(
    shards: list[Shard],
    summaries: list[ShardSummary],
    whole: Path,
    vocab_size: int,
    source: TokenizerSource,
    corpus: Corpus,
) -> None:
    counts = _merge_tokens(shards, whole / "tokens.bin", vocab_size)
    _merge_offsets(shards, whole / "offsets.bin")
    shutil.copy(shards[0].folder / "tokenizer.json", whole / "tokenizer.json")
    StoreMeta(
        format=FORMAT,
        dtype=shards[0].dtype,
        num_documents=sum(summary.num_documents for summary in summaries),
        num_tokens=sum(summary.num_tokens for summary in summaries),
        text_bytes=sum(summary.text_bytes for summary in summaries),
        unigram_entropy=entropy(counts),
        tokenizer_hash=tokenizer_hash(load_tokenizer(whole / "tokenizer.json")),
        special_tokens=source.special_tokens,
        sizes={name: (whole / name).stat().st_size for name in DATA_FILES},
        sha256={name: sha256_of(whole / name) for name in DATA_FILES},
        source={"corpus": type(corpus).__name__, "digest": corpus.digest(), "tokenizer": type(source).__name__},
    ).write(whole)


def _merge_tokens(shards: list[Shard], path: Path, vocab_size: int) -> np.ndarray:
    """Lays the shards' tokens end to end; how often each token occurs, int64[V]."""
    counts = np.zeros(vocab_size, dtype=np.int64)
    with path.open("wb") as file:
        for shard in shards:
            tokens = np.fromfile(shard.tokens_path, dtype=shard.dtype)
            counts += np.bincount(tokens, minlength=vocab_size)
            tokens.tofile(file)
        file.flush()
        os.fsync(file.fileno())
    return counts


def _merge_offsets(shards: list[Shard], path: Path) -> None:
    with path.open("wb") as file:
        last = np.zeros(1, dtype=np.uint64)
        last.tofile(file)
        for lengths in iterate_lengths(shards):
            offsets = last + np.cumsum(lengths, dtype=np.uint64)
            offsets.tofile(file)
            last = offsets[-1:] if offsets.size else last
        file.flush()
        os.fsync(file.fileno())


def entropy(counts: np.ndarray) -> float:
    """Entropy in nats of the distribution with these counts."""
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keeps other processes of this machine from preparing the same store; the lock ends with the process."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("waiting: another process prepares %s", path.stem)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield

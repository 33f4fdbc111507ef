"""Speed of text preparation and of the masked-LM loader, beside the collator a user would take instead.

Try: `python benchmarks/loader.py` (CPU, about a minute). Both loaders read the same warm store in this process, without
worker processes, so that the figures are tokens per second and core.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from datamodules import MaskedLMData
from datamodules.text import (
    BytePairTokenizer,
    Corpus,
    JsonLines,
    PythonSources,
    TokenizerFile,
    TokenStore,
    prepare_store,
)

MICRO_BATCH_SIZE = 128

JSON_LINES = 100_000
"""Documents of the JSON Lines file, about 40 MB: a web corpus is not over when its processes have just started."""

Row = tuple[str, float, float | None]
"""What is measured, Galley's figure and the other's."""


class TruncatedDocuments(Dataset[dict[str, list[int]]]):
    """The documents of a store as `transformers`' collator takes them."""

    def __init__(self, store: TokenStore, max_seqlen: int) -> None:
        self.store = store
        self.max_seqlen = max_seqlen

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, number: int) -> dict[str, list[int]]:
        return {"input_ids": [2, *self.store[number][: self.max_seqlen - 2].tolist(), 3]}


def measure_preparation(corpus: Corpus, root: Path, num_processes: int) -> tuple[TokenStore, list[Row]]:
    """Trains a tokenizer, then times the preparation of the corpus with it, starting and joining included.

    Returns:
        The store, and megabytes of text per second on the clock and per second of CPU time; training is not counted.
    """
    trained = TokenStore(prepare_store(corpus, BytePairTokenizer(4096), root / "trained"))
    given = TokenizerFile(str(trained.folder / "tokenizer.json"))
    start_s, start_cpu_s = time.perf_counter(), cpu_time_s()
    store = TokenStore(prepare_store(corpus, given, root / "timed", num_processes=num_processes))
    elapsed_s, cpu_s = time.perf_counter() - start_s, cpu_time_s() - start_cpu_s
    megabytes, name = store.meta.text_bytes / 1e6, type(corpus).__name__
    return store, [
        (f"{name}, {num_processes} processes, MB/s", megabytes / elapsed_s, None),
        (f"{name}, MB per CPU second", megabytes / cpu_s, None),
    ]


def cpu_time_s() -> float:
    """CPU time of this process and of those it has waited for."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def as_json_lines(path: Path) -> JsonLines:
    """Some documents in the form of a web corpus: enough of them, and quickly read, so that tokenizing decides."""
    texts = islice(PythonSources(site_packages=True), JSON_LINES)
    with path.open("w") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    return JsonLines(str(path))


def tokens_per_s(batches: Iterator[Any], count: Callable[[Any], int], seconds: float) -> float:
    """Real tokens per second of a loader, after its first batch."""
    next(batches)
    num_tokens, start_s = 0, time.perf_counter()
    while (elapsed_s := time.perf_counter() - start_s) < seconds:
        num_tokens += count(next(batches))
    return num_tokens / elapsed_s


def our_loader(corpus: Corpus, store: TokenStore, root: Path, max_seqlen: int) -> Iterator[Any]:
    """Micro-batches of `MaskedLMData` on the timed store."""
    data = MaskedLMData(
        corpus,
        tokenizer=TokenizerFile(str(next((root / "trained").glob("*/tokenizer.json")))),
        batch_size=MICRO_BATCH_SIZE,
        micro_batch_size=MICRO_BATCH_SIZE,
        max_seqlen=max_seqlen,
        validation=0,
        num_workers=0,
        folder=str(store.folder.parent),
    )
    data.setup("fit")
    return chain.from_iterable(data.train_dataloader())


def their_loader(store: TokenStore, max_seqlen: int) -> Iterator[Any]:
    """Padded batches by `transformers`' DataCollatorForLanguageModeling and a shuffling DataLoader."""
    from transformers import DataCollatorForLanguageModeling, PreTrainedTokenizerFast

    names = {f"{role}_token": spelling for role, spelling in store.meta.special_tokens.items()}
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(store.folder / "tokenizer.json"), **names)
    loader: DataLoader[Any] = DataLoader(
        TruncatedDocuments(store, max_seqlen),
        batch_size=MICRO_BATCH_SIZE,
        shuffle=True,
        drop_last=True,
        collate_fn=DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.3),
    )
    while True:
        yield from loader


def table(rows: list[Row]) -> str:
    """Figures side by side: what, ours, theirs and the ratio."""
    lines = [f"{'':34} {'Galley':>12} {'transformers':>13} {'ratio':>7}"]
    for name, ours, theirs in rows:
        beside = f"{theirs:13.2f} {ours / theirs:6.1f}x" if theirs else f"{'-':>13} {'-':>7}"
        lines.append(f"{name:34} {ours:12.2f} {beside}")
    return "\n".join(lines)


def measure(lines: Corpus, corpus: Corpus, root: Path, *, num_processes: int, seconds: float) -> list[Row]:
    """All figures, as `table` prints them: both corpora are prepared, the second is loaded."""
    _, lines_rows = measure_preparation(lines, root / "lines", num_processes)
    store, corpus_rows = measure_preparation(corpus, root, num_processes)
    rows = lines_rows + corpus_rows
    np.add.reduce(store.tokens, dtype=np.int64)  # reads every page once
    for max_seqlen in (128, 512):
        ours = tokens_per_s(our_loader(corpus, store, root, max_seqlen), lambda batch: batch.num_tokens, seconds)
        theirs = tokens_per_s(
            their_loader(store, max_seqlen), lambda batch: int((batch["input_ids"] != 0).sum()), seconds
        )
        rows.append((f"loader, S = {max_seqlen}, million tokens/s", ours / 1e6, theirs / 1e6))
    return rows


def main() -> None:
    """Reads the command line and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--site-packages", action="store_true", help="prepare all installed sources, not 11 MB only")
    parser.add_argument("--num-processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each loader runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as root:
        corpus = PythonSources(site_packages=options.site_packages)
        lines = as_json_lines(Path(root) / "texts.jsonl")
        rows = measure(lines, corpus, Path(root), num_processes=options.num_processes, seconds=options.seconds)
    print(table(rows))


if __name__ == "__main__":
    main()

"""Progress of long preparations: a bar in a terminal, plain lines everywhere else."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

LINE_INTERVAL_S = 10.0
"""Seconds between two plain lines."""


class Advance(Protocol):
    """Reports that so many more bytes are done."""

    def __call__(self, num_bytes: int, /) -> None: ...


@contextmanager
def byte_progress(title: str, total_bytes: int) -> Iterator[Advance]:
    """A progress display over `total_bytes`; the context's value is called with the bytes of each finished piece."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(title, total_bytes)
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn(title), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=total_bytes)
        yield lambda num_bytes: bar.advance(task, num_bytes)


class _Lines:
    """Prints a line now and then, and one when all is done."""

    def __init__(self, title: str, total_bytes: int) -> None:
        self._title = title
        self._total_bytes = total_bytes
        self._done_bytes = 0
        self._start_s = self._last_s = time.monotonic()

    def __call__(self, num_bytes: int) -> None:
        self._done_bytes += num_bytes
        now_s = time.monotonic()
        if now_s - self._last_s < LINE_INTERVAL_S and self._done_bytes < self._total_bytes:
            return
        self._last_s = now_s
        rate = self._done_bytes / 1e6 / max(now_s - self._start_s, 1e-9)
        done, total = self._done_bytes / 1e6, self._total_bytes / 1e6
        print(f"{self._title}: {done:.1f} of {total:.1f} MB ({rate:.1f} MB/s)", file=sys.stderr, flush=True)

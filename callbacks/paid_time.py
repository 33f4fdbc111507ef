"""Device-hours that a run has been paid for: every launch of it counts, also what a kill has undone."""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path

BEAT_S = 30.0
"""Least seconds between two lines of a launch. A kill loses these, or a step that takes longer."""


class PaidTime:
    """An append-only journal, `paid_time.jsonl`: a line now and then says that a launch still holds its devices.

    A checkpoint cannot know this: the work after it is lost with a kill, its price is not.

    Args:
        path: The journal.
        num_devices: Devices that this launch holds.
        goes_on: Whether this launch goes on with the run of the journal; if not, a journal there is another run's, and
            a new one takes its place.
    """

    def __init__(self, path: Path, num_devices: int, *, goes_on: bool = True) -> None:
        if not goes_on:
            path.unlink(missing_ok=True)
        self.path = path
        self.num_devices = num_devices
        self._launch = secrets.token_hex(4)
        self._written_at = -BEAT_S

    def beat(self, *, now: bool = False) -> None:
        """Write a line if the last one is old enough, or at once."""
        if not now and time.monotonic() - self._written_at < BEAT_S:
            return
        self._written_at = time.monotonic()
        line = {"launch": self._launch, "time": time.time(), "devices": self.num_devices}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def device_hours(self) -> float:
        """Device-hours of all launches in the journal, from the first to the last line of each."""
        first: dict[str, float] = {}
        seconds: dict[str, float] = {}
        for line in self.path.read_text().splitlines():
            try:
                beat = json.loads(line)
            except json.JSONDecodeError:
                continue  # torn by a kill
            begun = first.setdefault(beat["launch"], beat["time"])
            seconds[beat["launch"]] = (beat["time"] - begun) * beat["devices"]
        return sum(seconds.values()) / 3600

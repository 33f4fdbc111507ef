"""Files are whole or not there, also when two processes write the same one, or one of them fails."""

import os
from pathlib import Path

import pytest

from datamodules.text.atomic import write_bytes


def test_two_writers_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, fsync = tmp_path / "file", os.fsync

    def write_another_meanwhile(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        write_bytes(path, b"the other, which ends first")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", write_another_meanwhile)
    write_bytes(path, b"the one")
    assert path.read_bytes() == b"the one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    path = tmp_path / "file"
    write_bytes(path, b"old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]

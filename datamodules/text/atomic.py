"""Files that are there whole or not at all, whenever the process ends."""

import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import Any

import numpy as np

READ_BYTES = 2**22


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Writes a file under a name of its own (hosts may share the folder), flushes it to the disk and renames it."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Writes readable JSON with `write_bytes`."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def write_array(path: Path, array: np.ndarray) -> None:
    """Writes the bare bytes of an array with `write_bytes`."""
    write_bytes(path, np.ascontiguousarray(array).data.cast("B") if array.size else b"")


def sync_folder(folder: Path) -> None:
    """Flushes the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal, as `sha256sum` prints it."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(READ_BYTES):
            sha.update(data)
    return sha.hexdigest()

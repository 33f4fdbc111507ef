"""What tests of all folders share."""

from __future__ import annotations

import itertools
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).parents[1]

torch.set_num_threads(1)  # tests run side by side, and tiny models gain nothing from threads


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with what commands in the docs name, so that nothing is written into the repository."""
    folder = tmp_path_factory.mktemp("home")
    for name in ("yaml", "docs", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        (folder / name).symlink_to(REPOSITORY / name)
    (folder / "my").mkdir()
    (folder / "my" / "text.txt").write_text("\n\n".join(f"paragraph {number} of my text" for number in range(99)))
    return folder


@pytest.fixture(autouse=True)
def search_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands add their working directory, which is another one in each test."""
    monkeypatch.setattr("sys.path", [*sys.path])


@pytest.fixture(scope="session")
def ports(worker_id: str) -> Iterator[int]:
    """Ports that no other test process uses, below those that the system hands out by itself."""
    number = int(worker_id.removeprefix("gw")) if worker_id != "master" else 0
    return itertools.count(20_000 + 1_000 * number)


@pytest.fixture(autouse=True)
def environment_of_ranks(ports: Iterator[int]) -> Iterator[None]:
    """A port for the ranks of this test to meet on, and the environment as it was after it.

    What Lightning finds free may be taken before it listens; and the ranks that it writes into the environment of this
    process would tell processes started by later tests that they are ranks too.
    """
    before = dict(os.environ)
    os.environ["MASTER_PORT"] = str(next(port for port in ports if _is_free(port)))
    yield
    os.environ.clear()
    os.environ.update(before)


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        return listener.connect_ex(("127.0.0.1", port)) != 0

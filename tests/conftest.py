"""What tests of all folders share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).parents[1]

torch.set_num_threads(1)  # tests run side by side, and tiny models gain nothing from threads


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with what commands in the docs name, so that nothing is written into the repository."""
    folder = tmp_path_factory.mktemp("home")
    for name in ("yaml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        (folder / name).symlink_to(REPOSITORY / name)
    (folder / "my").mkdir()
    (folder / "my" / "text.txt").write_text("\n\n".join(f"paragraph {number} of my text" for number in range(99)))
    return folder

"""Whether the user wants tracebacks instead of one line a mistake."""

from __future__ import annotations

import os

DEBUG_VARIABLE = "GALLEY_DEBUG"
"""Environment variable that `--debug` sets. (JSONARGPARSE_DEBUG=true shows the parsing itself.)"""


def debugging() -> bool:
    """Whether tracebacks are wanted."""
    return DEBUG_VARIABLE in os.environ

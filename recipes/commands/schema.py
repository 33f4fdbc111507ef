"""Write a JSON Schema of the YAML files, so that editors complete and check them."""

from __future__ import annotations

import argparse
from pathlib import Path

from recipes.config.files import REPOSITORY


def main(argv: list[str]) -> int:
    """Write the schema; a YAML whose first line is `# yaml-language-server: $schema=...` names it for its editor."""
    parser = argparse.ArgumentParser(prog="galley schema", description=__doc__)
    parser.add_argument("--output", type=Path, default=REPOSITORY / "galley.schema.json", help="where to write it")
    output: Path = parser.parse_args(argv).output

    from callbacks.files import written_whole
    from recipes.config.schema import schema_text

    with written_whole(output) as path:
        path.write_text(schema_text())
    print(output)
    return 0

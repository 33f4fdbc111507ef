"""The YAML files of the repository: where they are and what their headers say."""

from __future__ import annotations

from pathlib import Path

from recipes.config.problems import ConfigError, Problem

REPOSITORY = Path(__file__).resolve().parents[2]
YAML_FOLDER = REPOSITORY / "yaml"


def find_yaml(name: str | Path) -> Path:
    """The file a user means: relative to the working directory, else to the repository.

    Raises:
        ConfigError: There is neither; says what was looked for and the nearest name that exists.
    """
    for path in (Path(name), REPOSITORY / name):
        if path.is_file():
            return path
    from recipes.config.nearest import did_you_mean

    known = [path.relative_to(REPOSITORY).as_posix() for path in sorted(YAML_FOLDER.rglob("*.yaml"))]
    message = f"no such file, neither here nor in {REPOSITORY}"
    raise ConfigError([Problem("command line", f"-c {name}", message + did_you_mean(str(name), known))])


def runnable_yamls() -> list[Path]:
    """Every YAML that can be run by itself: all below `yaml/` without an underscore before file or folder."""
    return [path for path in _all_yamls() if not _is_overlay(path)]


def overlays() -> list[Path]:
    """Every YAML that is laid over another one."""
    return [path for path in _all_yamls() if _is_overlay(path)]


def header(path: Path) -> dict[str, str]:
    """The comment at the top of a YAML as {heading: text}: `# What: ...`, `# Run: ...`, continued by indented lines."""
    sections: dict[str, str] = {}
    heading = ""
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            break
        text = line.lstrip("#")
        name, colon, rest = text.strip().partition(":")
        if colon and name.isalpha() and name.istitle() and not text.startswith("  "):
            heading = name
            sections[heading] = rest.strip()
        elif heading:
            sections[heading] = f"{sections[heading]} {text.strip()}".strip()
    return sections


def _all_yamls() -> list[Path]:
    return sorted(YAML_FOLDER.rglob("*.yaml"))


def _is_overlay(path: Path) -> bool:
    return any(part.startswith("_") for part in path.relative_to(YAML_FOLDER).parts)

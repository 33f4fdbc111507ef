"""The embedded corpus: the Python sources every machine already has, so that nothing is downloaded or committed."""

import ast
import hashlib
import itertools
import os
import re
import sysconfig
import textwrap
import tokenize
import warnings
from collections.abc import Iterator
from pathlib import Path

from .corpus import Corpus, Piece

WINDOW_LINES = 40
"""Length of the windows that what is neither function, class nor docstring is cut into."""

SKIPPED_FOLDERS = {"__pycache__", "test", "tests", "idle_test", "site-packages", "dist-packages", "encodings"}
"""Tests, what is installed, and a hundred generated code tables that are nearly the same."""

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class PythonSources(Corpus):
    """The sources of the standard library, without its tests and code tables (about 11 MB, 25,000 documents).

    A document is a function or method, a class without its methods, a docstring of several lines, or a window of the
    rest of a file. Each line of source is in one document, so that held-out documents do not repeat training text.

    Args:
        site_packages: Add the sources of all installed packages (some hundred MB).
    """

    def __init__(self, *, site_packages: bool = False) -> None:
        self.site_packages = site_packages

    def pieces(self) -> list[Piece]:
        """One piece a file."""
        paths = [path for root in self._roots() for path in _python_files(root)]
        return [Piece(str(path), 0, size, size) for path in paths if (size := path.stat().st_size)]

    def read(self, piece: Piece) -> Iterator[str]:
        """The documents of one file."""
        return iter(split_source(_read_source(Path(piece.source))))

    def identity(self) -> Iterator[str]:
        """Relative name and SHA-256 of the content of each file: the same on any machine with the same Python."""
        for root in self._roots():
            for path in _python_files(root):
                yield f"{path.relative_to(root).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}"

    def _roots(self) -> list[Path]:
        names = ["stdlib", "purelib"] if self.site_packages else ["stdlib"]
        return [Path(sysconfig.get_path(name)) for name in names]


def split_source(source: str) -> list[str]:
    """Cuts a Python file into documents that share no line.

    Returns:
        The functions, classes and docstrings in the order of their first lines, then the windows of the rest; the whole
        file in windows where it is not valid Python (templates, old syntax).
    """
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    lines = source.split("\n")  # splitlines() would also split where Python does not, at form feeds for one
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd escapes and comparisons are the authors' affair
            tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return _windows(lines)
    owners = [0] * len(lines)
    docstrings: dict[int, str] = {}
    _claim(tree, owners, docstrings, itertools.count(1))
    owned: dict[int, list[str]] = {}
    for owner, line in zip(owners, lines, strict=True):
        owned.setdefault(owner, []).append(line)
    rest = owned.pop(0, [])
    documents = [docstrings.get(owner) or _tidy(text) for owner, text in owned.items()]
    return documents + _windows(rest)


def _claim(
    node: ast.Module | Definition, owners: list[int], docstrings: dict[int, str], numbers: Iterator[int]
) -> None:
    """Numbers the lines by the document they belong to, outer definitions first; the inner ones overwrite them."""
    if not isinstance(node, ast.Module):
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        _paint(owners, first, node.end_lineno or first, next(numbers))
    docstring = ast.get_docstring(node)
    if docstring is not None and (string := node.body[0]).end_lineno != string.lineno:
        docstrings[number := next(numbers)] = docstring
        _paint(owners, string.lineno, string.end_lineno or string.lineno, number)
    if isinstance(node, ast.Module | ast.ClassDef):  # what is nested in a function stays with it
        for child in node.body:
            if isinstance(child, Definition):
                _claim(child, owners, docstrings, numbers)


def _paint(owners: list[int], first: int, last: int, number: int) -> None:
    owners[first - 1 : last] = [number] * (last - first + 1)


def _tidy(lines: list[str]) -> str:
    """Without the common indent, and without the holes that claimed lines leave."""
    return re.sub(r"\n{3,}", "\n\n", textwrap.dedent("\n".join(lines))).strip("\n")


def _windows(lines: list[str]) -> list[str]:
    return ["\n".join(lines[start : start + WINDOW_LINES]) for start in range(0, len(lines), WINDOW_LINES)]


def _python_files(root: Path) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(set(subfolders) - SKIPPED_FOLDERS)
        yield from (Path(folder, name) for name in sorted(names) if name.endswith(".py"))


def _read_source(path: Path) -> str:
    """Text of a source file in its declared encoding; bytes that do not fit it are replaced."""
    with path.open("rb") as file:
        try:
            encoding, _ = tokenize.detect_encoding(file.readline)
        except SyntaxError:
            encoding = "utf-8"
    return path.read_bytes().decode(encoding, errors="replace")

"""Every corpus gives its documents once, in order, however it is cut; and its digest follows its content."""

import ast
import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datamodules.text import HuggingFace, JsonLines, Parquet, PythonSources, TextFiles, files
from datamodules.text.files import FileCorpus
from datamodules.text.python_sources import split_source

TEXTS = ["eins", "zwei\nZeilen", "dr\u00e9i \u2028 Trenner", "vier " * 40, "f\u00fcnf"]


def write_json_lines(folder: Path) -> FileCorpus:
    (folder / "a.jsonl").write_text("".join(json.dumps({"body": text}) + "\n" for text in TEXTS[:3]))
    with gzip.open(folder / "b.jsonl.gz", "wt") as file:
        file.write("".join(json.dumps({"body": text, "n": 1}) + "\n" for text in ["  ", *TEXTS[3:]]))
    return JsonLines([str(folder / "*.jsonl"), str(folder / "*.gz")], field="body")


def write_parquet(folder: Path) -> FileCorpus:
    pq.write_table(pa.table({"body": [*TEXTS[:2], None, *TEXTS[2:]]}), folder / "a.parquet", row_group_size=2)
    return Parquet(str(folder / "*.parquet"), column="body")


def write_files(folder: Path) -> FileCorpus:
    for number, text in enumerate(TEXTS):
        (folder / f"{number}.txt").write_text(text)
    return TextFiles(str(folder / "**" / "*.txt"), document="file")


@pytest.mark.parametrize("write", [write_json_lines, write_parquet, write_files])
def test_documents_come_once_and_in_order(write: Callable[[Path], FileCorpus], tmp_path: Path) -> None:
    corpus = write(tmp_path)
    assert list(corpus) == TEXTS
    assert [text for piece in corpus.pieces() for text in corpus.documents(piece)] == TEXTS


@pytest.mark.parametrize("write", [write_json_lines, write_parquet, write_files])
def test_digest_follows_the_content_not_the_folder(write: Callable[[Path], FileCorpus], tmp_path: Path) -> None:
    corpus = write(tmp_path)
    digest = corpus.digest()
    moved = tmp_path.rename(tmp_path.with_name(tmp_path.name + "_moved"))
    corpus.paths = [pattern.replace(str(tmp_path), str(moved)) for pattern in corpus.paths]
    assert corpus.digest() == digest
    changed = next(path for path in sorted(moved.iterdir()))
    changed.write_bytes(changed.read_bytes() + b" ")
    assert corpus.digest() != digest


@pytest.mark.parametrize("document", ["line", "paragraph"])
def test_lines_and_paragraphs(
    document: Literal["line", "paragraph"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "poem.txt"
    path.write_text("eins\nzwei\n\n \ndrei\r\nvier")
    expected = {"line": ["eins", "zwei", "drei", "vier"], "paragraph": ["eins\nzwei", "drei\nvier"]}
    for range_bytes in (1, 2, 3, 5, 7, 100):
        monkeypatch.setattr(files, "RANGE_BYTES", range_bytes)
        assert list(TextFiles(str(path), document=document)) == expected[document]


def test_json_lines_of_any_range_size(texts: list[str], corpus: JsonLines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "RANGE_BYTES", 1000)
    assert len(corpus.pieces()) > 50
    assert list(corpus) == texts


def test_errors_name_the_file_and_the_cause(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file matches paths='.*\.nothing'"):
        list(JsonLines(str(tmp_path / "*.nothing")))
    (tmp_path / "bad.jsonl").write_text('{"body": "x"}\n')
    with pytest.raises(ValueError, match=r"bad\.jsonl: no field='text'"):
        list(JsonLines(str(tmp_path / "bad.jsonl")))
    (tmp_path / "latin.txt").write_bytes("\u00e9".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.txt is not UTF-8"):
        list(TextFiles(str(tmp_path / "latin.txt")))
    pq.write_table(pa.table({"body": TEXTS}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"column='text' is not among its columns \['body'\]"):
        Parquet(str(tmp_path / "a.parquet")).pieces()


def test_hugging_face_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match="pip install datasets"):
        HuggingFace("allenai/c4", name="en").pieces()


SOURCE = '''"""Module words
over two lines.
"""
import os

class Cat:
    """A cat, described
    at length."""
    legs = 4

    @property
    def name(self):
        def inner():
            return 1
        return inner()

async def run():
    """Short."""
'''


def test_python_source_is_cut_into_documents_that_share_no_line() -> None:
    documents = split_source(SOURCE)
    assert documents == [
        "Module words\nover two lines.",
        "class Cat:\n    legs = 4",
        "A cat, described\nat length.",
        "@property\ndef name(self):\n    def inner():\n        return 1\n    return inner()",
        'async def run():\n    """Short."""',
        "import os\n\n\n",
    ]


def test_python_that_does_not_parse_comes_in_windows() -> None:
    lines = [f"print {number}" for number in range(100)]
    assert "\n".join(split_source("\n".join(lines))) == "\n".join(lines)
    assert len(split_source("\n".join(lines))) == 3


def test_python_sources_are_the_standard_library_without_tests() -> None:
    corpus = PythonSources()
    names = [piece.source for piece in corpus.pieces()]
    assert any(name.endswith("/argparse.py") for name in names)
    assert not any("/test/" in name or "site-packages" in name for name in names)
    argparse = next(piece for piece in corpus.pieces() if piece.source.endswith("/argparse.py"))
    documents = list(corpus.documents(argparse))
    functions = [text for text in documents if text.startswith("def ")]
    assert len(functions) > 50
    for text in functions:
        ast.parse(text + "\n    pass" if text.endswith(":") else text)
    assert corpus.digest() == PythonSources().digest()

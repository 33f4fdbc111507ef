"""A store says what is in it, travels between processes, and is refused as soon as something is wrong with it."""

import errno
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.text import TokenStore
from datamodules.text import store as store_module
from datamodules.text.tokenizers import load_tokenizer, tokenizer_hash


@pytest.fixture
def copy(store: TokenStore, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store.folder, tmp_path / "store"))


def test_documents_equal_the_tokenized_texts(store: TokenStore, texts: list[str]) -> None:
    tokenizer = store.tokenizer()
    assert len(store) == len(texts)
    for number in (0, 1, 700, len(texts) - 1):
        assert store[number].tolist() == tokenizer.encode(texts[number], add_special_tokens=False).ids
    with pytest.raises(IndexError):
        store[len(texts)]


def test_meta_counts_and_entropy(store: TokenStore, texts: list[str]) -> None:
    assert store.tokens.dtype == np.uint16
    assert store.meta.num_tokens == len(store.tokens) == store.offsets[-1]
    assert store.meta.text_bytes == sum(len(text.encode()) for text in texts)
    p = np.bincount(store.tokens) / len(store.tokens)
    assert store.meta.unigram_entropy == pytest.approx(-sum(q * np.log(q) for q in p if q), rel=1e-12)
    assert store.meta.tokenizer_hash == tokenizer_hash(load_tokenizer(store.folder / "tokenizer.json"))


def test_a_pickled_store_holds_no_tokens(store: TokenStore) -> None:
    data = pickle.dumps(store)
    assert len(data) < 3000
    assert np.array_equal(pickle.loads(data)[7], store[7])


def change_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 2)


@pytest.mark.parametrize("name", ["tokens.bin", "offsets.bin", "tokenizer.json"])
@pytest.mark.parametrize(
    ("damage", "message"), [(change_byte, "changed"), (truncate, "truncated"), (Path.unlink, "truncated")]
)
def test_damage_is_refused_and_named(name: str, damage: Callable[[Path], None], message: str, copy: Path) -> None:
    TokenStore(copy)
    status = (copy / name).stat()
    damage(copy / name)
    if (copy / name).exists():  # a restored time of modification does not hide a write
        os.utime(copy / name, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(ValueError, match=rf"{name}: {message}"):
        TokenStore(copy)


def test_another_tokenizer_is_refused(copy: Path) -> None:
    with pytest.raises(ValueError, match="wrong tokenizer"):
        TokenStore(copy, tokenizer_hash="0" * 64)
    meta = json.loads((copy / "meta.json").read_text())
    meta["tokenizer_hash"] = "0" * 64
    (copy / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(ValueError, match="wrong tokenizer"):
        TokenStore(copy)


def test_no_store_and_broken_meta_are_refused(tmp_path: Path, copy: Path) -> None:
    with pytest.raises(ValueError, match="no token store there: run `galley prepare`"):
        TokenStore(tmp_path / "nothing")
    (copy / "meta.json").write_text('{"format": 1, ')
    with pytest.raises(ValueError, match=r"meta\.json: changed or truncated"):
        TokenStore(copy)
    (copy / "meta.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match="format=99 must be 1"):
        TokenStore(copy)


def test_checksums_are_compared_once(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    TokenStore(copy)

    def read_all(path: Path) -> str:
        raise AssertionError(f"read {path} again")

    monkeypatch.setattr(store_module, "sha256_of", read_all)
    TokenStore(copy)
    os.utime(copy / "tokens.bin")
    with pytest.raises(AssertionError, match=r"read .*tokens\.bin again"):
        TokenStore(copy)


def test_a_store_that_takes_no_note_is_checked_each_time(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, value: dict[str, Any]) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    (copy / "verified.json").unlink(missing_ok=True)
    monkeypatch.setattr(store_module, "write_json", refuse)
    assert len(TokenStore(copy)) == len(TokenStore(copy))
    change_byte(copy / "tokens.bin")
    with pytest.raises(ValueError, match=r"tokens\.bin: changed"):
        TokenStore(copy)

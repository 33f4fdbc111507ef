"""Preparation: whole or nothing, goes on after a kill, the same for any number of processes."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from datamodules.text import (
    BytePairTokenizer,
    JsonLines,
    TextFiles,
    TokenStore,
    prepare,
    prepare_store,
    shards,
    store_folder,
)
from datamodules.text.shards import plan_shards, tokenize_shard
from datamodules.text.workers import Worker, map_in_processes

SCRIPT = """
import sys
from datamodules.text import BytePairTokenizer, JsonLines, prepare_store
prepare_store(JsonLines(sys.argv[1]), BytePairTokenizer(300, train_bytes=50_000), sys.argv[2], num_processes=1)
"""


@pytest.fixture(scope="module")
def many_files(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> JsonLines:
    """Six files of 1 MB and more, which make a shard each and a small last one."""
    folder = tmp_path_factory.mktemp("many")
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    repeats = -(-(2**20) // len(lines))
    for number in range(6):
        (folder / f"{number:02d}.jsonl").write_text(lines * repeats)
    return JsonLines(str(folder / "*.jsonl"))


def test_a_killed_preparation_leaves_nothing_and_the_next_goes_on(many_files: JsonLines, tmp_path: Path) -> None:
    tokenizer = BytePairTokenizer(300, train_bytes=50_000)
    command = [sys.executable, "-c", SCRIPT, many_files.paths[0], str(tmp_path)]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    folder = store_folder(many_files, tokenizer, tmp_path)
    partial = folder.with_name(folder.name + ".partial")
    deadline_s = time.monotonic() + 60
    while len(list(partial.glob("shard-*.json"))) < 2 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)  # the parent alone: its worker must notice
    process.wait()
    assert not folder.exists()
    done = list(partial.glob("shard-*.json"))
    assert 2 <= len(done) < 7
    (damaged,) = partial.glob("shard-000001-*.tokens")
    damaged.write_bytes(damaged.read_bytes()[:-2])
    inode = next(partial.glob("shard-000000-*.tokens")).stat().st_ino
    tokenized: list[int] = []
    original = shards.Shard.finished

    def spy(shard: shards.Shard) -> shards.ShardSummary | None:
        summary = original(shard)
        if summary is None:
            tokenized.append(shard.number)
        elif shard.number == 0:
            assert shard.tokens_path.stat().st_ino == inode
        return summary

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards.Shard, "finished", spy)
        prepare_store(many_files, tokenizer, tmp_path, num_processes=1)
    assert 1 in tokenized
    assert 0 not in tokenized
    assert not partial.exists()
    whole = TokenStore(folder)
    assert len(whole) == sum(1 for _ in many_files)
    assert np.array_equal(whole[0], whole[1500 * (len(whole) // 1500 - 1)])


def test_two_processes_make_the_same_store_as_one(many_files: JsonLines, tmp_path: Path) -> None:
    tokenizer = BytePairTokenizer(300, train_bytes=50_000)
    one = TokenStore(prepare_store(many_files, tokenizer, tmp_path / "one", num_processes=1))
    two = TokenStore(prepare_store(many_files, tokenizer, tmp_path / "two", num_processes=2))
    assert one.digest == two.digest
    assert one.meta == two.meta


def test_a_second_call_tokenizes_nothing(
    store: TokenStore,
    corpus: JsonLines,
    tokenizer: BytePairTokenizer,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    assert prepare_store(corpus, tokenizer, root) == store.folder


def test_the_first_opening_is_locked(
    store: TokenStore, corpus: JsonLines, tokenizer: BytePairTokenizer, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []

    def open_locked(folder: Path) -> None:
        with folder.with_name(folder.name + ".lock").open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        opened.append(folder)

    monkeypatch.setattr(prepare, "TokenStore", open_locked)
    prepare_store(corpus, tokenizer, root)
    assert opened == [store.folder]


def test_a_store_on_a_read_only_disk_is_opened_without_a_lock(
    store: TokenStore, corpus: JsonLines, tokenizer: BytePairTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(store.folder, tmp_path / store.folder.name))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert prepare_store(corpus, tokenizer, tmp_path) == folder
    assert list(tmp_path.iterdir()) == [folder]
    (folder / "tokens.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"tokens\.bin: truncated"):
        prepare_store(corpus, tokenizer, tmp_path)


def test_shards_follow_the_corpus_alone(many_files: JsonLines, tmp_path: Path) -> None:
    plan = plan_shards(many_files, tmp_path, "uint16")
    assert [shard.number for shard in plan] == list(range(7))
    assert [piece for shard in plan for piece in shard.pieces] == many_files.pieces()
    assert plan == plan_shards(many_files, tmp_path, "uint16")


def test_processes_share_a_single_file_evenly(tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text('{"text": "some words"}\n' * 2**18)  # 5.75 MiB
    plan = plan_shards(JsonLines(str(tmp_path / "one.jsonl")), tmp_path, "uint16")
    assert [shard.num_bytes for shard in plan] == [2**20] * 5 + [3 * 2**18]


def test_a_shard_cut_otherwise_is_not_taken_for_this_one(
    many_files: JsonLines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    BytePairTokenizer(300, train_bytes=50_000).build(many_files).save(str(tmp_path / "tokenizer.json"))
    shard = plan_shards(many_files, tmp_path, "uint16")[0]
    tokenize_shard(shard)
    assert shard.finished() is not None
    monkeypatch.setattr("datamodules.text.files.RANGE_BYTES", 2**21)
    other = plan_shards(many_files, tmp_path, "uint16")[0]
    assert other.pieces != shard.pieces
    assert other.finished() is None


def test_errors_of_a_worker_reach_the_user(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"body": 1}\n')
    with pytest.raises(ValueError, match=r"bad\.jsonl: no field='text'"):
        prepare_store(JsonLines(str(tmp_path / "bad.jsonl")), BytePairTokenizer(300), tmp_path, num_processes=1)
    (tmp_path / "blank.txt").write_text(" \n\n ")
    with pytest.raises(ValueError, match="there is no text in the corpus"):
        prepare_store(TextFiles(str(tmp_path / "blank.txt")), BytePairTokenizer(300), tmp_path, num_processes=1)


def test_a_worker_that_dies_is_reported() -> None:
    worker = Worker()
    with pytest.raises(RuntimeError, match="ended with code 3"):
        worker.call(os._exit, 3)
    worker.close()


def test_a_failing_task_stops_the_others() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        list(map_in_processes(int, ["1", "x", "2"], 1))
    assert dict(map_in_processes(int, ["1", "2", "3"], 2)) == {"1": 1, "2": 2, "3": 3}


def test_large_vocabularies_take_four_bytes(corpus: JsonLines, tmp_path: Path) -> None:
    BytePairTokenizer(300).build(corpus).save(str(tmp_path / "tokenizer.json"))
    (shard,) = plan_shards(corpus, tmp_path, "uint32")
    summary = tokenize_shard(shard)
    assert shard.tokens_path.stat().st_size == 4 * summary.num_tokens
    assert shard.finished() == summary

"""The loader benchmark runs at toy size, and both loaders it compares give the same documents."""

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from benchmarks import loader
from datamodules.text import JsonLines


@pytest.fixture
def corpus(tmp_path: Path) -> JsonLines:
    words = ["eins", "zwei", "drei", "vier", "f\u00fcnf"]
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(words, size=int(size))) for size in rng.integers(1, 200, size=300)]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return JsonLines(str(tmp_path / "corpus.jsonl"))


def test_the_table_has_a_figure_for_each_row(corpus: JsonLines, tmp_path: Path) -> None:
    rows = loader.measure(corpus, corpus, tmp_path, num_processes=1, seconds=0.05)
    assert [name.split(",")[0] for name, *_ in rows] == ["JsonLines"] * 4 + ["loader"] * 2
    assert all(ours > 0 for _, ours, _ in rows)
    assert all(theirs is not None and theirs > 0 for _, _, theirs in rows[4:])
    text = loader.table(rows)
    assert len(text.splitlines()) == 7
    assert text.count("x\n") + text.endswith("x") == 2


def test_both_loaders_read_the_same_documents(corpus: JsonLines, tmp_path: Path) -> None:
    store, _ = loader.measure_preparation(corpus, tmp_path, 1)
    ours = list(islice(loader.our_loader(corpus, store, tmp_path, 64), 2))
    theirs = list(islice(loader.their_loader(store, 64), 2))
    expected = np.minimum(np.diff(store.offsets.astype(np.int64)), 62) + 2
    for batch in ours:
        assert batch.documents is not None
        assert batch.cu_seqlens.diff().tolist() == expected[batch.documents].tolist()
    lengths = sorted(int(n) for batch in theirs for n in batch["attention_mask"].sum(1))
    assert set(lengths) <= set(expected.tolist())

"""A small corpus, its store, and data modules on it, made once for all tests of the folder."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datamodules import MaskedLMData
from datamodules.text import BytePairTokenizer, JsonLines, TokenStore, prepare_store

NUM_DOCUMENTS = 1500
SYLLABLES = ["ka", "lo", "mi", "ner", "tu", "sha", "bri", "ost", "en", "ving", "qua", "pel"]


def made_up_text(rng: random.Random) -> str:
    """Words of two or three syllables; some texts are much longer than a training example."""
    num_words = rng.choice([1, 3, 10, 30, 60, 90])
    return " ".join("".join(rng.choices(SYLLABLES, k=rng.choice([2, 3]))) for _ in range(num_words))


@pytest.fixture(scope="session")
def texts() -> list[str]:
    rng = random.Random(0)
    return [made_up_text(rng) for _ in range(NUM_DOCUMENTS)]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> JsonLines:
    path = tmp_path_factory.mktemp("corpus") / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return JsonLines(str(path))


@pytest.fixture(scope="session")
def tokenizer() -> BytePairTokenizer:
    return BytePairTokenizer(320)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of all stores of the session."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def store(corpus: JsonLines, tokenizer: BytePairTokenizer, root: Path) -> TokenStore:
    return TokenStore(prepare_store(corpus, tokenizer, root, num_processes=1))


@pytest.fixture(scope="session")
def make_data(
    store: TokenStore, corpus: JsonLines, tokenizer: BytePairTokenizer, root: Path
) -> Callable[..., MaskedLMData]:
    """Builds a data module on the small corpus; keywords override the defaults."""

    def make(**options: Any) -> MaskedLMData:
        defaults: dict[str, Any] = {
            "batch_size": 24,
            "micro_batch_size": 24,
            "max_seqlen": 32,
            "validation": 50,
            "num_workers": 0,
            "folder": str(root),
        }
        return MaskedLMData(corpus, tokenizer=tokenizer, **(defaults | options))

    return make

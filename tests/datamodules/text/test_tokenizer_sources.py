"""Tokenizers: trained ones repeat and know their special tokens; given ones lose truncation and padding."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from datamodules.text import BytePairTokenizer, JsonLines, TokenizerFile, WordPieceTokenizer
from datamodules.text.tokenizers import SPECIAL_TOKENS, load_tokenizer, sample_documents, tokenizer_hash


@pytest.mark.parametrize("source", [BytePairTokenizer(300), WordPieceTokenizer(120)])
def test_the_special_tokens_come_first(source: BytePairTokenizer | WordPieceTokenizer, corpus: JsonLines) -> None:
    first = source.build(corpus)
    assert first.get_vocab_size() == source.vocab_size
    assert [first.token_to_id(token) for token in SPECIAL_TOKENS.values()] == [0, 1, 2, 3, 4]
    ids = first.encode("kalo miner").ids
    assert (ids[0], ids[-1]) == (2, 3)
    assert first.decode(ids) == "kalo miner"


def test_byte_pair_training_repeats(corpus: JsonLines) -> None:
    assert BytePairTokenizer(300).build(corpus).to_str() == BytePairTokenizer(300).build(corpus).to_str()


def test_byte_pairs_know_every_text(corpus: JsonLines) -> None:
    tokenizer = BytePairTokenizer(300).build(corpus)
    text = "\u00dcber \U0001f600 \x00\n\t tab"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_lowercase_is_part_of_the_identity(corpus: JsonLines) -> None:
    assert WordPieceTokenizer(120).digest() != WordPieceTokenizer(120, lowercase=False).digest()
    tokenizer = WordPieceTokenizer(120).build(corpus)
    assert tokenizer.encode("KALO").ids == tokenizer.encode("kalo").ids


def test_a_given_file_loses_its_truncation_and_padding(tmp_path: Path, corpus: JsonLines) -> None:
    tokenizer = BytePairTokenizer(300).build(corpus)
    plain = tokenizer_hash(tokenizer)
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = TokenizerFile(str(tmp_path / "tokenizer.json")).build(corpus)
    assert tokenizer_hash(loaded) == plain
    assert len(loaded.encode("kalo " * 50).ids) > 50


def test_the_hash_does_not_depend_on_the_layout_of_the_file(tmp_path: Path, corpus: JsonLines) -> None:
    tokenizer = BytePairTokenizer(300).build(corpus)
    again = Tokenizer.from_str(tokenizer.to_str(pretty=True))
    assert tokenizer_hash(again) == tokenizer_hash(tokenizer)


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="vocab_size=200 must be >= 261"):
        BytePairTokenizer(200)
    with pytest.raises(ValueError, match="does not exist"):
        load_tokenizer(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(ValueError, match=r"bad\.json is no tokenizer file"):
        load_tokenizer(tmp_path / "bad.json")
    with pytest.raises(ValueError, match=r"special_tokens=\['start'\] must be among"):
        TokenizerFile("x", special_tokens={"start": "<s>"})


def test_the_sample_comes_from_the_whole_corpus(corpus: JsonLines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datamodules.text.files.RANGE_BYTES", 2000)
    everything = list(corpus)
    sample = list(sample_documents(corpus, 40_000))
    places = [everything.index(text) for text in sample if len(text) > 100]
    assert 20_000 < sum(map(len, sample)) < 60_000
    assert max(places) > 0.8 * len(everything)
    assert min(places) < 0.2 * len(everything)

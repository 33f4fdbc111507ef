"""Where a tokenizer comes from: trained on the corpus, or given as a `tokenizers` file. The work is the library's."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .corpus import Corpus

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL_TOKENS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
"""Spelling of each special token by its role, in tokenizers trained here and in BERT's."""


class TokenizerSource(ABC):
    """A way to get a tokenizer for a corpus."""

    special_tokens: dict[str, str] = SPECIAL_TOKENS
    """Spelling of each special token by its role: "pad", "unk", "cls", "sep", "mask"."""

    @abstractmethod
    def digest(self) -> str:
        """A string that changes whenever the tokenizer of a given corpus would."""

    @abstractmethod
    def build(self, corpus: Corpus) -> Tokenizer:
        """The tokenizer, without truncation or padding of its own. May take as long as reading the corpus."""


class TokenizerFile(TokenizerSource):
    """A given `tokenizer.json`, as every fast tokenizer of `transformers` has one.

    Args:
        path: The file.
        special_tokens: Spelling of the special tokens by role where it is not BERT's, for example {"mask": "<mask>"}.
    """

    def __init__(self, path: str, *, special_tokens: dict[str, str] | None = None) -> None:
        self.path = path
        self.special_tokens = {**SPECIAL_TOKENS, **(special_tokens or {})}
        if unknown := sorted(set(self.special_tokens) - set(SPECIAL_TOKENS)):
            raise ValueError(f"TokenizerFile: special_tokens={unknown} must be among {list(SPECIAL_TOKENS)}")

    def digest(self) -> str:
        """The hash of the tokenizer and the spelling of its special tokens."""
        return f"{tokenizer_hash(load_tokenizer(self.path))} {sorted(self.special_tokens.items())}"

    def build(self, corpus: Corpus) -> Tokenizer:
        """The tokenizer of the file.

        Raises:
            ValueError: The file is missing or no tokenizer.
        """
        return load_tokenizer(self.path)


class _TrainedTokenizer(TokenizerSource):
    """What the trained tokenizers share.

    Args:
        vocab_size: Number of token ids, special ones included.
        lowercase: Whether case and accents are dropped first.
        train_bytes: About how much text it is trained on, taken evenly from the whole corpus.
    """

    def __init__(self, vocab_size: int, *, lowercase: bool, train_bytes: int) -> None:
        if vocab_size < self.min_vocab_size:
            raise ValueError(
                f"{type(self).__name__}: vocab_size={vocab_size} must be >= {self.min_vocab_size} "
                "(special tokens and single characters come first)"
            )
        self.vocab_size = vocab_size
        self.lowercase = lowercase
        self.train_bytes = train_bytes

    min_vocab_size = len(SPECIAL_TOKENS) + 1

    def digest(self) -> str:
        """Class and options."""
        return f"{type(self).__name__} {self.vocab_size} {self.lowercase} {self.train_bytes}"

    def _finish(self, tokenizer: Tokenizer) -> Tokenizer:
        """Adds the template, so that the file works outside of Galley as well."""
        from tokenizers import processors

        ends = [(token, tokenizer.token_to_id(token)) for token in (SPECIAL_TOKENS["cls"], SPECIAL_TOKENS["sep"])]
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
        )
        return tokenizer


class BytePairTokenizer(_TrainedTokenizer):
    """Byte-level BPE: any text, any language, never an unknown token.

    Args:
        vocab_size: Number of token ids, special ones included; at least 261.
        lowercase: Whether case and accents are dropped first.
        train_bytes: About how much text it is trained on, taken evenly from the whole corpus.
    """

    min_vocab_size = len(SPECIAL_TOKENS) + 256

    def __init__(self, vocab_size: int, *, lowercase: bool = False, train_bytes: int = 100_000_000) -> None:
        super().__init__(vocab_size, lowercase=lowercase, train_bytes=train_bytes)

    def build(self, corpus: Corpus) -> Tokenizer:
        """Trains on a sample of the corpus."""
        from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

        tokenizer = Tokenizer(models.BPE())
        if self.lowercase:
            tokenizer.normalizer = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False)
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocab_size,
            special_tokens=list(SPECIAL_TOKENS.values()),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(sample_documents(corpus, self.train_bytes), trainer)
        return self._finish(tokenizer)


class WordPieceTokenizer(_TrainedTokenizer):
    """WordPiece over words and punctuation marks, as BERT's.

    The library's trainer orders the letters inside words by chance, so that training twice gives two vocabularies: take
    the `tokenizer.json` of a store to other machines (`TokenizerFile`) where they shall share a run.

    Args:
        vocab_size: Number of token ids, special ones included.
        lowercase: Whether case and accents are dropped first.
        train_bytes: About how much text it is trained on, taken evenly from the whole corpus.
    """

    def __init__(self, vocab_size: int, *, lowercase: bool = True, train_bytes: int = 100_000_000) -> None:
        super().__init__(vocab_size, lowercase=lowercase, train_bytes=train_bytes)

    def build(self, corpus: Corpus) -> Tokenizer:
        """Trains on a sample of the corpus."""
        from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

        tokenizer = Tokenizer(models.WordPiece(unk_token=SPECIAL_TOKENS["unk"]))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=self.lowercase)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(
            vocab_size=self.vocab_size,
            special_tokens=list(SPECIAL_TOKENS.values()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(sample_documents(corpus, self.train_bytes), trainer)
        return self._finish(tokenizer)


def sample_documents(corpus: Corpus, max_bytes: int) -> Iterator[str]:
    """The documents of every n-th piece of a corpus, with n so that they come to about `max_bytes`."""
    pieces = corpus.pieces()
    stride = max(1, -(-sum(piece.num_bytes for piece in pieces) // max_bytes))
    remaining = max_bytes
    for piece in pieces[::stride]:
        for text in corpus.documents(piece):
            if remaining <= 0:
                return
            remaining -= len(text)
            yield text


def load_tokenizer(path: str | Path) -> Tokenizer:
    """A tokenizer file, with truncation and padding switched off (files of finetuned models often bring both).

    Raises:
        ValueError: The file is missing or no tokenizer.
    """
    from tokenizers import Tokenizer

    if not Path(path).is_file():
        raise ValueError(f"tokenizer file {str(path)!r} does not exist: give a tokenizer.json, or train one")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises the bare class
        raise ValueError(f"{path} is no tokenizer file ({error})") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def tokenizer_hash(tokenizer: Tokenizer) -> str:
    """SHA-256 of a tokenizer's canonical JSON (sorted keys, no white space), hexadecimal."""
    canonical = json.dumps(json.loads(tokenizer.to_str()), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()

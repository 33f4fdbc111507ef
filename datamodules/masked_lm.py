"""Masked language modelling data as in MosaicBERT (arXiv:2312.17482): one document, truncated, is one example.

Try: `galley prepare -c yaml/mosaicbert/tiny.yaml`, then `galley fit -c yaml/mosaicbert/tiny.yaml` (CPU).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from torch.utils.data import DataLoader

from modules.contracts import RaggedText, Schedule, Vocabulary

from .devices import micro_batches_per_step, refuse_accumulation, replicas, unfinished_steps
from .horizon import expected_steps
from .text.buckets import make_buckets
from .text.corpus import Corpus
from .text.counter_hash import seed_key
from .text.masked_batches import BatchMaker, MaskedExamples
from .text.masking_rate import MaskingRate
from .text.order import ShuffledOrder
from .text.packing import Examples, PackedDocuments, SingleDocuments
from .text.prediction import prediction_loader
from .text.prepare import prepare_store, store_folder
from .text.split import Split
from .text.store import TokenStore
from .text.streams import EvaluationBatches, StreamLoader, TrainingStream, loader_options, ordered_loader
from .text.tokenizers import TokenizerFile, TokenizerSource
from .text.vocabulary import document_ends, make_vocabulary, maskable_ids

CHUNK = 2**20
"""Documents whose lengths are looked at together: few enough to fit in memory, many enough for speed."""


class MaskedLMData(L.LightningDataModule):
    """Documents of a corpus as masked, ragged micro-batches (`modules.contracts.RaggedText`).

    Which documents make a step, and which of their tokens are masked, is a function of `seed` and the step: any
    number of devices, micro-batches and workers gives the same global batches, and a run goes on exactly where it
    stopped.

    Args:
        corpus: Where the documents come from.
        tokenizer: Trained on the corpus, or a given file.
        batch_size: Examples per optimizer step, over all devices. An example is a document, or a pack of them.
        micro_batch_size: Examples per device and forward pass; gradient accumulation follows from the two sizes.
        max_seqlen: S, tokens of the longest document, [CLS] and [SEP] counted; longer ones are truncated.
        masking_rate: Share of the ordinary tokens that is masked in training: a number, or a Schedule that gives it
            from the fraction of the run that is done, by `trainer.max_steps` or the recipe's `max_tokens`.
        eval_masking_rate: The same in validation and test, where masks never change.
        packing: Whether short documents share an example of S tokens. They still do not see each other.
        validation: How many documents of the corpus are held out, or a corpus of its own.
        predict: Texts for `galley predict`, taken as they are.
        num_workers: Processes that build batches, per device.
        seed: Seed of order and masks.
        folder: Where token stores are kept.
        num_processes: Processes that tokenize; None means one for each core.

    Attributes:
        vocabulary: What models must know of tokenizer and corpus; there after `setup`.
        digest: SHA-256 of the training tokens; there after `setup`.

    Raises:
        ValueError: A size or rate is out of range.
    """

    vocabulary: Vocabulary
    digest: str

    def __init__(
        self,
        corpus: Corpus,
        *,
        tokenizer: TokenizerSource,
        batch_size: int,
        micro_batch_size: int,
        max_seqlen: int = 128,
        masking_rate: float | Schedule = 0.3,
        eval_masking_rate: float = 0.15,
        packing: bool = False,
        validation: Corpus | int = 1000,
        predict: Corpus | None = None,
        num_workers: int = 2,
        seed: int = 17,
        folder: str = "data",
        num_processes: int | None = None,
    ) -> None:
        super().__init__()
        _check(batch_size=batch_size, micro_batch_size=micro_batch_size, max_seqlen=max_seqlen)
        self.corpus = corpus
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.micro_batch_size = micro_batch_size
        self.max_seqlen = max_seqlen
        self.masking_rate = masking_rate
        self.eval_masking_rate = MaskingRate(eval_masking_rate, batch_size).at(0)
        self.packing = packing
        self.validation = validation
        self.predict = predict
        self.num_workers = num_workers
        self.seed = seed
        self.folder = folder
        self.num_processes = num_processes
        self._position = 0
        self._resumed: dict[str, Any] | None = None

    def prepare_data(self) -> None:
        """Makes the token stores that are not there yet; instant if they are."""
        folder = prepare_store(self.corpus, self.tokenizer, self.folder, num_processes=self.num_processes)
        if isinstance(self.validation, Corpus):
            given = self._given_tokenizer(TokenStore(folder))
            prepare_store(self.validation, given, self.folder, num_processes=self.num_processes)

    def setup(self, stage: str) -> None:
        """Opens the stores and sets `vocabulary` and `digest`.

        Raises:
            ValueError: A store is missing or damaged, the tokenizer lacks a special token, or the sizes do not fit.
        """
        self._store = TokenStore(store_folder(self.corpus, self.tokenizer, self.folder))
        self._held_out = self._store
        if isinstance(self.validation, Corpus):
            given = self._given_tokenizer(self._store)
            self._held_out = TokenStore(
                store_folder(self.validation, given, self.folder), tokenizer_hash=self._store.meta.tokenizer_hash
            )
        meta = self._store.meta
        self.vocabulary = make_vocabulary(self._store.tokenizer(), meta.special_tokens, meta.unigram_entropy)
        self.digest = self._store.digest
        self._replicas, self._replica = replicas(self.trainer)
        if stage == "fit":
            micro_batches_per_step(self.batch_size, self.micro_batch_size, self._replicas)
            if self.trainer is not None:
                refuse_accumulation(self.trainer)

    def train_dataloader(self) -> DataLoader[list[RaggedText]]:
        """The endless stream of steps, each the list of this device's micro-batches, from where the run stands."""
        if self._resumed is not None:
            self._go_on(self._resumed)
            self._resumed = None
        split = self._training_split()
        examples = self._examples(self._store, split)
        rate = self._training_rate(len(examples))
        batches = self._batches(self._store, split, examples, rate.maximum(), seed_key(self.seed, "masks"))
        order = ShuffledOrder(len(batches.examples), self.seed)
        stream = TrainingStream(batches, self.batch_size, order, rate, self._replicas, self._replica)
        return StreamLoader(stream, self._start, **self._loader_options())

    def val_dataloader(self) -> DataLoader[RaggedText] | list[DataLoader[RaggedText]]:
        """This device's part of the held-out documents; nothing if none are held out."""
        split = self._held_out_split()
        if not len(split):
            return []
        # neither seed nor epoch: runs with different seeds are compared on the same masks
        examples = self._examples(self._held_out, split)
        batches = self._batches(self._held_out, split, examples, self.eval_masking_rate, seed_key(0, "evaluation"))
        dataset = EvaluationBatches(batches, self.eval_masking_rate, self._replicas)
        return ordered_loader(dataset, self._replicas, self._replica, **self._loader_options())

    def test_dataloader(self) -> DataLoader[RaggedText] | list[DataLoader[RaggedText]]:
        """The same as `val_dataloader`."""
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[RaggedText]:
        """This device's part of the texts given as `predict`, in order, without masks and labels.

        Raises:
            ValueError: No texts are given.
        """
        return prediction_loader(
            self.predict,
            self._store.tokenizer(),
            self.vocabulary,
            micro_batch_size=self.micro_batch_size,
            max_seqlen=self.max_seqlen,
            num_replicas=self._replicas,
            replica=self._replica,
            **self._loader_options(),
        )

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Counts what training has consumed: here, as loaders read ahead."""
        if self.trainer is not None and self.trainer.training:
            self._position += self.batch_size
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Where the run stands (`position`: examples all devices consumed), and what must stay when it goes on."""
        if not hasattr(self, "digest"):  # an error before `setup` was through: there is nothing to go on from
            return {}
        return {"position": self._position - unfinished_steps(self.trainer) * self.batch_size, **self._identity()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Notes where to go on; `train_dataloader` compares and does it."""
        self._resumed = dict(state_dict) or None

    def _identity(self) -> dict[str, Any]:
        """What decides the examples at a position, and those that the run is validated on."""
        return {
            "seed": self.seed,
            "digest": self.digest,
            "validation_digest": self._held_out.digest,
            "batch_size": self.batch_size,
            "held_out": self._training_split().num_held_out,
            "packed_seqlen": self.max_seqlen if self.packing else None,
        }

    def _go_on(self, state: dict[str, Any]) -> None:
        for name, value in self._identity().items():
            if state[name] != value:
                raise ValueError(
                    f"the run was made with {name}={state[name]}, now it is {value}: its data cannot go on from here; "
                    "restore the old value, or start a new run with init_from"
                )
        self._position = state["position"]

    @property
    def mean_masking_rate(self) -> float:
        """Mean share of the tokens that is masked in training: the rows that a head has to score."""
        return MaskingRate(self.masking_rate, self.batch_size).mean()

    @property
    def tokenizer_file(self) -> Path:
        """The tokenizer of the token store, where that has been prepared."""
        return store_folder(self.corpus, self.tokenizer, self.folder) / "tokenizer.json"

    @property
    def unique_units(self) -> int:
        """Real tokens of one epoch: those of the training documents, truncated, [CLS] and [SEP] counted."""
        split = self._training_split()
        chunks = (np.arange(start, min(start + CHUNK, len(split))) for start in range(0, len(split), CHUNK))
        offsets = self._store.offsets
        numbers = map(split.numbers, chunks)
        return sum(int(np.minimum(offsets[n + 1] - offsets[n] + 2, self.max_seqlen).sum()) for n in numbers)

    def decode(self, ids: list[int]) -> str:
        """The text of token ids, without [CLS], [SEP] and [PAD]."""
        return self._store.tokenizer().decode(ids)

    def _training_rate(self, num_examples: int) -> MaskingRate:
        if not callable(self.masking_rate):
            return MaskingRate(self.masking_rate, self.batch_size)
        num_steps = expected_steps(self.trainer, lambda: self.batch_size * self.unique_units / num_examples)
        return MaskingRate(self.masking_rate, self.batch_size, num_steps)

    def _start(self) -> int:
        """Where the stream starts: at the same examples each time if the Trainer is told to overfit."""
        overfits = self.trainer is not None and getattr(self.trainer, "overfit_batches")  # noqa: B009 (untyped there)
        return 0 if overfits else self._position

    def _training_split(self) -> Split:
        num_held_out = 0 if isinstance(self.validation, Corpus) else self.validation
        return Split(len(self._store), num_held_out, held_out=False)

    def _held_out_split(self) -> Split:
        if isinstance(self.validation, Corpus):
            return Split(len(self._held_out), 0, held_out=False)
        return Split(len(self._store), self.validation, held_out=True)

    def _examples(self, store: TokenStore, split: Split) -> Examples:
        return PackedDocuments(store, split, self.max_seqlen) if self.packing else SingleDocuments(split)

    def _batches(
        self, store: TokenStore, split: Split, examples: Examples, max_rate: float, key: np.ndarray
    ) -> MaskedExamples:
        maker = BatchMaker(
            num_slots=self.micro_batch_size * examples.max_documents,
            max_seqlen=self.max_seqlen,
            ends=document_ends(self.vocabulary),
            maskable=maskable_ids(self.vocabulary, store.tokenizer()),
            buckets=make_buckets(self.micro_batch_size * self.max_seqlen, max_rate),
            key=key,
        )
        return MaskedExamples(store, split, examples, self.micro_batch_size, maker)

    def _given_tokenizer(self, store: TokenStore) -> TokenizerFile:
        return TokenizerFile(str(store.folder / "tokenizer.json"), special_tokens=store.meta.special_tokens)

    def _loader_options(self) -> dict[str, Any]:
        on_gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return loader_options(self.num_workers, self.seed, pin_memory=on_gpu)


def _check(*, batch_size: int, micro_batch_size: int, max_seqlen: int) -> None:
    if micro_batch_size < 1 or batch_size < 1 or batch_size % micro_batch_size:
        raise ValueError(
            f"batch_size={batch_size} must be a positive multiple of micro_batch_size={micro_batch_size} "
            "(data.init_args.batch_size)"
        )
    if max_seqlen < 3:
        raise ValueError(f"max_seqlen={max_seqlen} must be >= 3: [CLS], a token, [SEP] (data.init_args.max_seqlen)")

"""Masked language modelling data from a `litdata` folder or bucket, for corpora that fit on no disk.

Its items are arrays of token ids, one a document, without special tokens: what a token store holds.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
from torch.utils.data import DataLoader

from modules.contracts import RaggedText, Vocabulary

from .devices import micro_batches_per_step, refuse_accumulation, replicas, unfinished_steps
from .text.buckets import make_buckets
from .text.corpus import Corpus
from .text.counter_hash import seed_key
from .text.masked_batches import BatchMaker
from .text.masking_rate import MaskingRate
from .text.prediction import prediction_loader
from .text.streams import loader_options
from .text.tokenizers import TokenizerFile, load_tokenizer
from .text.vocabulary import document_ends, make_vocabulary, maskable_ids

if TYPE_CHECKING:
    from litdata import StreamingDataLoader

    from .text.streaming import EndlessLoader


class StreamingMaskedLMData(L.LightningDataModule):
    """Documents of a `litdata` data set as masked, ragged micro-batches, by the same contract as `MaskedLMData`.

    The order of the documents is `litdata`'s: it depends on the number of devices and workers and on the micro-batch
    size, so a run goes on only with the same ones. Masks depend on seed, epoch and document.

    Args:
        path: Folder or bucket ("s3://...") made by `litdata.optimize`.
        tokenizer: The tokenizer the documents were made with.
        batch_size: Documents per optimizer step, over all devices.
        micro_batch_size: Documents per device and forward pass; gradient accumulation follows from the two sizes.
        max_seqlen: S, tokens of the longest document, [CLS] and [SEP] counted; longer ones are truncated.
        masking_rate: Share of the ordinary tokens that is masked in training.
        eval_masking_rate: The same in validation and test, where masks never change.
        validation: Folder or bucket of held-out documents. With several devices `litdata` leaves out what does not
            divide by them.
        predict: Texts for `galley predict`, taken as they are.
        num_workers: Processes that build batches, per device.
        seed: Seed of order and masks.

    Attributes:
        vocabulary: What models must know of the tokenizer, there after `setup`; its unigram entropy is NaN, as nobody
            has read the whole corpus.
        digest: SHA-256 of the data set's index, there after `setup`.

    Raises:
        ValueError: A size or rate is out of range.
    """

    vocabulary: Vocabulary
    digest: str

    def __init__(
        self,
        path: str,
        *,
        tokenizer: TokenizerFile,
        batch_size: int,
        micro_batch_size: int,
        max_seqlen: int = 128,
        masking_rate: float = 0.3,
        eval_masking_rate: float = 0.15,
        validation: str | None = None,
        predict: Corpus | None = None,
        num_workers: int = 2,
        seed: int = 17,
    ) -> None:
        super().__init__()
        micro_batches_per_step(batch_size, micro_batch_size, 1)
        self.path = path
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.micro_batch_size = micro_batch_size
        self.max_seqlen = max_seqlen
        self.masking_rate = MaskingRate(masking_rate, batch_size).maximum()
        self.eval_masking_rate = MaskingRate(eval_masking_rate, batch_size).maximum()
        self.validation = validation
        self.predict = predict
        self.num_workers = num_workers
        self.seed = seed
        self._num_steps = 0
        self._stream: EndlessLoader | None = None
        self._resumed: dict[str, Any] | None = None

    def setup(self, stage: str) -> None:
        """Sets `vocabulary` and `digest`.

        Raises:
            ValueError: The data set is missing, the tokenizer lacks a special token, or the sizes do not fit.
        """
        self._tokenizer = load_tokenizer(self.tokenizer.path)
        self.vocabulary = make_vocabulary(self._tokenizer, self.tokenizer.special_tokens, math.nan)
        self.digest = _index_digest(self.path)
        self._replicas, self._replica = replicas(self.trainer)
        self._batches_per_step = micro_batches_per_step(self.batch_size, self.micro_batch_size, self._replicas)
        if stage == "fit" and self.trainer is not None:
            refuse_accumulation(self.trainer)

    def train_dataloader(self) -> Iterable[list[RaggedText]]:
        """The endless stream of steps, each the list of this device's micro-batches, from where the run stands."""
        from .text.streaming import EndlessLoader

        state = None
        if self._resumed is not None:
            state = self._check(self._resumed)["loader"]
            self._resumed = None
        loader = self._loader(self.path, self.masking_rate, training=True)
        self._num_steps = 0
        self._stream = EndlessLoader(loader, self._batches_per_step, state)
        return self._stream

    def val_dataloader(self) -> StreamingDataLoader | list[StreamingDataLoader]:
        """This device's part of the held-out documents; nothing if there are none."""
        return [] if self.validation is None else self._loader(self.validation, self.eval_masking_rate, training=False)

    def test_dataloader(self) -> StreamingDataLoader | list[StreamingDataLoader]:
        """The same as `val_dataloader`."""
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[RaggedText]:
        """This device's part of the texts given as `predict`, in order, without masks and labels.

        Raises:
            ValueError: No texts are given.
        """
        return prediction_loader(
            self.predict,
            self._tokenizer,
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
            self._num_steps += 1
        return batch

    def state_dict(self) -> dict[str, Any]:
        """The state of the loader after the last step, and what must not change when the run goes on."""
        if self._stream is None:
            return {}
        return {
            "loader": self._stream.state_after(self._num_steps - unfinished_steps(self.trainer)),
            **self._identity(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Notes where to go on; `train_dataloader` compares and does it."""
        self._resumed = dict(state_dict) or None

    @property
    def mean_masking_rate(self) -> float:
        """Mean share of the tokens that is masked in training: the rows that a head has to score."""
        return self.masking_rate

    @property
    def tokenizer_file(self) -> Path:
        """The tokenizer the documents were made with."""
        return Path(self.tokenizer.path)

    def decode(self, ids: list[int]) -> str:
        """The text of token ids, without [CLS], [SEP] and [PAD]."""
        return self._tokenizer.decode(ids)

    def _identity(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "digest": self.digest,
            "batch_size": self.batch_size,
            "micro_batch_size": self.micro_batch_size,
            "num_workers": self.num_workers,
            "num_replicas": self._replicas,
        }

    def _check(self, state: dict[str, Any]) -> dict[str, Any]:
        for name, value in self._identity().items():
            if state[name] != value:
                raise ValueError(
                    f"the run was made with {name}={state[name]}, now it is {value}: a litdata stream cannot go on "
                    "from there; restore the old value, or start a new run with init_from"
                )
        return state

    def _loader(self, path: str, rate: float, *, training: bool) -> StreamingDataLoader:
        from litdata import StreamingDataLoader

        from .text.streaming import MaskedCollate, NumberedDocuments

        maker = BatchMaker(
            num_slots=self.micro_batch_size,
            max_seqlen=self.max_seqlen,
            ends=document_ends(self.vocabulary),
            maskable=maskable_ids(self.vocabulary, self._tokenizer),
            buckets=make_buckets(self.micro_batch_size * self.max_seqlen, rate),
            key=seed_key(self.seed, "masks") if training else seed_key(0, "evaluation"),
        )
        return StreamingDataLoader(
            NumberedDocuments(path, shuffle=training, seed=self.seed, drop_last=training),
            collate_fn=MaskedCollate(maker, rate, fixed=not training),
            **{**self._loader_options(), "batch_size": self.micro_batch_size},
        )

    def _loader_options(self) -> dict[str, Any]:
        on_gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return loader_options(self.num_workers, self.seed, pin_memory=on_gpu)


def _index_digest(path: str) -> str:
    """SHA-256 of a data set's `index.json`, which `litdata` has fetched into its cache if it lies in a bucket."""
    from .text.streaming import NumberedDocuments

    try:
        folder = NumberedDocuments(path).input_dir.path
    except ValueError as error:
        raise ValueError(f"{path}: no litdata data set there ({error}): make it with litdata.optimize") from None
    return hashlib.sha256((Path(folder) / "index.json").read_bytes()).hexdigest()

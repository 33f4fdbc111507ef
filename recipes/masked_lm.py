"""Masked language modelling: the recipe of MosaicBERT (arXiv:2312.17482) and of its BERT baseline.

Try: galley fit -c yaml/mosaicbert/tiny.yaml (CPU, under three minutes).

Letters: T tokens of a micro-batch, R rows whose label counts, B documents, D width, V vocabulary.
"""

from __future__ import annotations

import logging
import math
from dataclasses import asdict
from typing import Any, Literal

import lightning as L
import torch
import torch.nn.functional as F
from lightning.fabric.utilities.seed import reset_seed
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.utilities.seed import isolate_rng
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from modules.checkpoints import load_encoder_weights
from modules.contracts import IGNORE, CostProfile, RaggedText, Schedule, Vocabulary
from modules.encoder import Encoder
from modules.flops import encoder_cost_profile
from modules.layers import mean_pool
from recipes.horizon import run_fraction
from recipes.hyperparameters import save_plain_hyperparameters
from recipes.sharding import shard
from recipes.token_means import TokenMeans

log = logging.getLogger(__name__)


class MaskedLM(L.LightningModule):
    """Trains an encoder to fill masked tokens.

    The loss is the mean cross-entropy over the masked tokens of the global batch: of all micro-batches of all ranks, so
    that one device and eight give the same update. A training batch is one optimizer step: the list of this rank's
    micro-batches.

    Logs `train/loss` and `train/accuracy` over the masked tokens since the last logging step, `train/lr`, and for `val`
    and `test` loss and accuracy over all masked tokens of the split. Losses are in nats.

    Args:
        encoder: What is trained. With `vocab_size: null` it takes the size from the data.
        optimizer: Builds the optimizer from the parameters; all of them are one group, as in the paper.
        schedule: Multiplier of the learning rate over the fraction of the run that is done.
        max_tokens: End the run after this many real tokens; None leaves its end to the Trainer (steps or hours).
        compile: Compile the encoder and its loss with torch.compile.
        init_from: Start from the weights in this Lightning checkpoint or Hugging Face folder.
        predict: What `galley predict` writes: the text with each [MASK] filled, or one embedding for each document.

    Raises:
        ValueError: `max_tokens` is below 1, or the encoder's `vocab_size` is not that of the data.
    """

    loss_unit = "nats per predicted token"

    def __init__(
        self,
        encoder: Encoder,
        *,
        optimizer: OptimizerCallable,
        schedule: Schedule,
        max_tokens: int | None = None,
        compile: bool = False,
        init_from: str | None = None,
        predict: Literal["masks", "embeddings"] = "masks",
    ) -> None:
        super().__init__()
        if max_tokens is not None and max_tokens < 1:
            raise ValueError(f"max_tokens={max_tokens} must be at least 1, or null (model.init_args.max_tokens)")
        save_plain_hyperparameters(self, objects=("encoder", "optimizer", "schedule"))
        self.encoder = encoder
        self.optimizer = optimizer
        self.schedule = schedule
        self.max_tokens = max_tokens
        self.compile_encoder = compile
        self.init_from = init_from
        self.predict_what = predict
        self.vocabulary: Vocabulary | None = None
        self.tokens = 0  # real tokens trained on, by all ranks
        self._is_built = False
        self._means = {stage: TokenMeans("loss", "accuracy") for stage in ("train", "val", "test")}

    # Building

    def setup(self, stage: str) -> None:
        self.vocabulary = self.trainer.datamodule.vocabulary  # type: ignore[attr-defined]

    def configure_model(self) -> None:
        if self.vocabulary is None or self._is_built:
            return  # outside a run `on_load_checkpoint` knows the vocabulary; Lightning calls this for every stage
        self._is_built = True
        self._check_padding(self.vocabulary)
        if self.encoder.is_configured:
            self.encoder.set_vocabulary(self.vocabulary.size)  # refuses another size
        else:
            self._draw_weights(self.vocabulary.size)
        if self.init_from is not None:
            load_encoder_weights(self.encoder, self.init_from)
        if self.device_mesh is not None:
            shard(self.encoder, self.encoder.layers, self.device_mesh)
        if self.compile_encoder:
            self.encoder.compile()
            self._sums = torch.compile(self._sums)  # type: ignore[method-assign]

    def _check_padding(self, vocabulary: Vocabulary) -> None:
        """Refuse a tokenizer whose padding is another id: a real token would get the row that never learns."""
        own, pad = self.encoder.embeddings.padding_id, vocabulary.special_ids.get("pad")
        if own is not None and pad is not None and own != pad:
            raise ValueError(
                f"padding_id={own} of the encoder is not the tokenizer's [PAD], which is {pad}: "
                f"set model.init_args.encoder.init_args.padding_id to {pad}"
            )

    def _draw_weights(self, vocab_size: int) -> None:
        """Draw all weights from the run's seed: strategies leave the global generator in different states."""
        with isolate_rng():
            reset_seed()
            self.encoder.set_vocabulary(vocab_size)
            self.encoder.reset_parameters()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = self.optimizer(self.parameters())
        scheduler = LambdaLR(optimizer, lambda _: self.schedule(self._fraction()))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _fraction(self) -> float:
        return run_fraction(self.trainer, tokens=self.tokens, max_tokens=self.max_tokens)

    # Training

    def on_fit_start(self) -> None:
        log.info("precision=%s on %s (trainer.precision)", self.trainer.precision, self.device)

    def training_step(self, batch: list[RaggedText], batch_idx: int) -> Tensor:
        self.zero_grad()
        weight, tokens = self._global_weight(batch)
        *first, last = batch
        done = torch.zeros_like(weight)
        for micro in first:  # gradients add up; DDP exchanges them in Lightning's backward pass of the last one
            loss = self._micro_loss(micro) * weight
            self.trainer.strategy.backward(loss, None)
            done += loss.detach()
        loss = self._micro_loss(last) * weight + done  # the value of the whole step, the graph of the last micro-batch
        if self.max_tokens is not None:
            self.tokens += int(tokens)
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and (self.global_step + 1) % every == 0:
            self._log_means("train")
            self.log("train/lr", self.trainer.optimizers[0].param_groups[0]["lr"])
        return loss

    def optimizer_zero_grad(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: Lightning calls this between `training_step` and its backward pass, where gradients sum up."""

    def on_train_end(self) -> None:
        metrics = self.trainer.callback_metrics
        places = {"train/loss": "training", "val/loss": "validation"}
        known = [f"{metrics[name]:.3f} in {place}" for name, place in places.items() if name in metrics]
        assert self.vocabulary is not None
        entropy = self.vocabulary.unigram_entropy
        if known and not math.isnan(entropy):  # a streamed corpus has been counted by nobody
            self.print(
                f"loss {', '.join(known)}; a model that ignores the context reaches {entropy:.3f}, "
                "the unigram entropy of the corpus (nats)"
            )

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.max_tokens is not None and self.tokens >= self.max_tokens:
            self.trainer.should_stop = True

    def _global_weight(self, batch: list[RaggedText]) -> tuple[Tensor, Tensor]:
        """What turns this rank's sums of losses into the mean of the global batch, and the real tokens in that batch.

        The strategies average gradients over ranks; the world size in the weight undoes that.
        """
        labels = torch.stack([(_labels(micro) != IGNORE).sum() for micro in batch]).sum()
        tokens = torch.full_like(labels, sum(micro.num_tokens for micro in batch))
        counts = self.trainer.strategy.reduce(torch.stack([labels, tokens]), reduce_op="sum")
        return self.trainer.world_size / counts[0].clamp(min=1), counts[1]

    def _micro_loss(self, micro: RaggedText) -> Tensor:
        loss, correct, count = self._sums(self._hidden(micro, rows=micro.rows), _labels_of_rows(micro))
        self._means["train"].add(count, loss, correct)
        return loss

    def _hidden(self, batch: RaggedText, rows: Tensor | None) -> Tensor:
        """Last hidden states: of `rows` (R, D), or of all tokens (T, D)."""
        hidden, _ = self.encoder(
            batch.input_ids, batch.cu_seqlens, batch.max_seqlen, token_type_ids=batch.token_type_ids, rows=rows
        )
        return hidden

    def _sums(self, hidden_RD: Tensor, labels_R: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Over the rows with a label: sum of the cross-entropy in nats, number of right guesses, number of rows."""
        logits_RV = self.encoder.logits(hidden_RD).float()  # the log-sum-exp needs fp32
        loss = F.cross_entropy(logits_RV, labels_R, ignore_index=IGNORE, reduction="sum")
        correct = (logits_RV.detach().argmax(dim=-1) == labels_R).sum()
        return loss, correct, (labels_R != IGNORE).sum()

    # Evaluation

    def validation_step(self, batch: RaggedText, batch_idx: int) -> None:
        self._evaluate(batch, "val")

    def test_step(self, batch: RaggedText, batch_idx: int) -> None:
        self._evaluate(batch, "test")

    def on_validation_epoch_end(self) -> None:
        self._log_means("val")

    def on_test_epoch_end(self) -> None:
        self._log_means("test")

    def _evaluate(self, batch: RaggedText, stage: str) -> None:
        loss, correct, count = self._sums(self._hidden(batch, rows=batch.rows), _labels_of_rows(batch))
        self._means[stage].add(count, loss, correct)

    def _log_means(self, stage: str) -> None:
        means = self._means[stage].compute(self.trainer.strategy)
        values = {f"{stage}/{name}": value for name, value in means.items()}
        self.log_dict(values, sync_dist=stage != "train")  # equal on all ranks; Lightning wants to be told

    # Prediction

    def predict_step(self, batch: RaggedText, batch_idx: int) -> list[dict[str, Any]]:
        """One row for each document: its number and its text with every [MASK] filled, or its embedding float32[D]."""
        if self.predict_what == "embeddings":
            embeddings_BD = mean_pool(self._hidden(batch, rows=None), batch.cu_seqlens).float().cpu()
            return [{"document": number, "embedding": embeddings_BD[place]} for place, number in _documents(batch)]
        assert self.vocabulary is not None
        rows = (batch.input_ids == self.vocabulary.special_ids["mask"]).nonzero().squeeze(-1)
        filled = batch.input_ids.clone()
        filled[rows] = self.encoder.logits(self._hidden(batch, rows=rows))[:, : self.vocabulary.size].argmax(dim=-1)
        starts = batch.cu_seqlens.tolist()
        decode = self.trainer.datamodule.decode  # type: ignore[attr-defined]
        return [
            {"document": number, "text": decode(filled[starts[place] : starts[place + 1]].tolist())}
            for place, number in _documents(batch)
        ]

    # Cost

    def cost_profile(self) -> CostProfile:
        """Cost per real token: attention over documents of full length, the head on the masked share of the tokens."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        return encoder_cost_profile(self.encoder, seqlen=data.max_seqlen, head_fraction=data.mean_masking_rate)

    def count_units(self, batch: list[RaggedText]) -> int:
        """Real tokens in this rank's part of a global batch."""
        return sum(micro.num_tokens for micro in batch)

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["tokens"] = self.tokens
        checkpoint["means"] = self._means["train"].state(self.trainer.strategy)
        if self.vocabulary is not None:
            checkpoint["vocabulary"] = asdict(self.vocabulary)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.tokens = checkpoint["tokens"]
        self._means["train"].restore(checkpoint["means"], rank=self.global_rank)
        saved = Vocabulary(**checkpoint["vocabulary"])
        if self.vocabulary is None:
            self.vocabulary = saved
            self.encoder.set_vocabulary(saved.size)
        elif saved.tokenizer_hash != self.vocabulary.tokenizer_hash:
            raise ValueError(
                f"the checkpoint was trained with tokenizer {saved.tokenizer_hash[:12]}, the data has "
                f"{self.vocabulary.tokenizer_hash[:12]}: prepare the data with the checkpoint's tokenizer"
            )


def _labels(batch: RaggedText) -> Tensor:
    assert batch.labels is not None, "a training or evaluation batch has labels"
    return batch.labels


def _labels_of_rows(batch: RaggedText) -> Tensor:
    return _labels(batch) if batch.rows is None else _labels(batch)[batch.rows]


def _documents(batch: RaggedText) -> list[tuple[int, int]]:
    """(place in the batch, number in the corpus) of each document that is not empty."""
    assert batch.documents is not None
    return [(place, number) for place, number in enumerate(batch.documents.tolist()) if number >= 0]

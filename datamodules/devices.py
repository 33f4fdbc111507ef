"""How a global batch is laid over devices and micro-batches, and how a run that goes on finds the seam again."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.loops.progress import _ProcessedTracker


def replicas(trainer: L.Trainer | None) -> tuple[int, int]:
    """How many devices see different data, and which of them this is. One without a Trainer.

    With tensor parallelism there are fewer than processes: the strategy knows.
    """
    kwargs = trainer.distributed_sampler_kwargs if trainer is not None else None
    return (kwargs["num_replicas"], kwargs["rank"]) if kwargs else (1, 0)


def accumulation(batch_size: int, micro_batch_size: int, num_replicas: int) -> int:
    """Micro-batches each device sees per optimizer step.

    Raises:
        ValueError: The global batch cannot be cut into whole micro-batches.
    """
    if batch_size % (micro_batch_size * num_replicas):
        raise ValueError(
            f"batch_size={batch_size} must be a multiple of micro_batch_size={micro_batch_size} x {num_replicas} "
            f"devices = {micro_batch_size * num_replicas} (data.init_args.batch_size)"
        )
    return batch_size // (micro_batch_size * num_replicas)


def set_accumulation(trainer: L.Trainer, num_micro_batches: int) -> None:
    """Tells the Trainer what follows from the two batch sizes.

    Raises:
        ValueError: The user told it something else.
    """
    if trainer.accumulate_grad_batches not in (1, num_micro_batches):
        raise ValueError(
            f"trainer.accumulate_grad_batches={trainer.accumulate_grad_batches} contradicts {num_micro_batches}, "
            "which follows from data.init_args.batch_size and micro_batch_size: remove it"
        )
    trainer.accumulate_grad_batches = num_micro_batches


def unfinished_batches(trainer: L.Trainer) -> int:
    """Batches that were read but not trained on (a checkpoint written because of an error in the middle of a step)."""
    progress = trainer.fit_loop.epoch_loop.batch_progress.total
    assert isinstance(progress, _ProcessedTracker)
    return progress.ready - progress.processed


def align_batch_progress(trainer: L.Trainer, saved_accumulation: int) -> None:
    """Sets Lightning's batch counter to the beginning of the optimizer step that comes next.

    Lightning steps whenever its batch counter is a multiple of `accumulate_grad_batches`, and restores the counter as
    it was. That is wrong after a stop inside a step (the gradients are gone, the step is done again) and where
    another number of devices or micro-batches makes another number of batches a step.

    Args:
        trainer: The Trainer, with its loops restored and its accumulation set.
        saved_accumulation: Micro-batches per step in the run that wrote the checkpoint.
    """
    progress = trainer.fit_loop.epoch_loop.batch_progress.current
    assert isinstance(progress, _ProcessedTracker)
    behind = progress.processed - progress.completed  # 1 if saved in on_train_batch_end: Lightning adds it
    num_batches = progress.processed // saved_accumulation * trainer.accumulate_grad_batches
    progress.ready = progress.started = progress.processed = num_batches
    progress.completed = num_batches - behind

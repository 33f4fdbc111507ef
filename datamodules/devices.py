"""How a global batch is laid over devices and micro-batches."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.loops.progress import _ProcessedTracker


def replicas(trainer: L.Trainer | None) -> tuple[int, int]:
    """How many devices see different data, and which of them this is. One without a Trainer.

    With tensor parallelism there are fewer than processes: the strategy knows.
    """
    kwargs = trainer.distributed_sampler_kwargs if trainer is not None else None
    return (kwargs["num_replicas"], kwargs["rank"]) if kwargs else (1, 0)


def micro_batches_per_step(batch_size: int, micro_batch_size: int, num_replicas: int) -> int:
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


def refuse_accumulation(trainer: L.Trainer) -> None:
    """Refuse a Trainer that would accumulate over batches: a batch of ours is a whole optimizer step already.

    Raises:
        ValueError: The user told it to.
    """
    if trainer.accumulate_grad_batches != 1:
        raise ValueError(
            f"trainer.accumulate_grad_batches={trainer.accumulate_grad_batches} has no place here: accumulation "
            "follows from data.init_args.batch_size and micro_batch_size, remove it"
        )


def unfinished_steps(trainer: L.Trainer | None) -> int:
    """Steps whose batch was read but that did not end: one in a checkpoint that an error inside a step causes."""
    if trainer is None:
        return 0
    progress = trainer.fit_loop.epoch_loop.batch_progress.total
    assert isinstance(progress, _ProcessedTracker)
    return progress.ready - progress.processed

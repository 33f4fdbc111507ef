"""What may differ between a run and what goes on from its checkpoint: more training, or an evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any, Literal

Kind = Literal["fixed", "free", "guarded"]

FREE = (  # where, how long and how closely watched a run is; the numbers it computes stay the same
    "trainer.max_steps",
    "trainer.max_epochs",
    "trainer.max_time",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy*",
    "trainer.logger*",
    "trainer.callbacks*",
    "trainer.log_every_n_steps",
    "trainer.val_check_interval",
    "trainer.limit_*_batches",
    "trainer.num_sanity_val_steps",
    "trainer.enable_*",
    "trainer.default_root_dir",
    "trainer.profiler*",
    "trainer.plugins*",
    "trainer.benchmark",
    "trainer.deterministic",
    "model.init_args.max_tokens",
    "model.init_args.compile",
    "model.init_args.init_from",
    "model.init_args.predict",
    "model.init_args.num_samples",
    "model.init_args.encoder.init_args.attention",
    "model.init_args.encoder.init_args.attention.*",
    "data.init_args.micro_batch_size",
    "data.init_args.num_workers",
    "data.init_args.num_processes",
    "data.init_args.*folder*",
    "data.init_args.*.paths",  # moved data: whether they are the same is for the data module to say, by their digest
    "data.init_args.tokenizer.init_args.path",
    "data.init_args.tasks.init_args.path",
    "data.init_args.predict*",
    "data.init_args.num_test_tasks",
    "data.init_args.test_support",
    "data.init_args.eval_batch_size",
)
FIXED = (  # another value makes another model, or other data: nothing could go on
    "seed_everything",
    "model.class_path",
    "model.init_args.encoder.*class_path",
    "model.init_args.learner*",
    "*.vocab_size",
    "*.pad_vocab_to",
    "*.dim",
    "*.hidden_dim",
    "*.num_layers",
    "*.num_heads",
    "*.max_positions",
    "data.class_path",
    "data.init_args.seed",
    "data.init_args.corpus*",
    "data.init_args.tokenizer*",
    "data.init_args.tasks*",
    "data.init_args.eval_seed",
    "data.init_args.num_support*",
    "data.init_args.num_query",
    "data.init_args.num_train_tasks",
    "data.init_args.standardize",
)

TRAINING = (  # neither shapes the weights nor gives them their meaning: nothing to an evaluation
    "model.init_args.optimizer*",
    "model.init_args.schedule*",
    "*dropout",
)


@dataclass(frozen=True)
class Change:
    """A value of the configuration that differs from the run's own.

    Attributes:
        key: Dotted path, such as `trainer.max_steps`.
        old: The value in the run folder; None where it was not set.
        new: The value asked for.
        kind: `free` may change, `fixed` may not, `guarded` may if forced.
    """

    key: str
    old: Any
    new: Any
    kind: Kind

    def __str__(self) -> str:
        return f"{self.key}: {self.old!r} in the run, {self.new!r} now"


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """All values that differ between two resolved configurations, with what may become of them."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    keys = sorted(before.keys() | after.keys())
    differing = [key for key in keys if before.get(key) != after.get(key)]
    return [Change(key, before.get(key), after.get(key), _kind(key)) for key in differing]


def model_differences(old: dict[str, Any], new: dict[str, Any], *, training: bool) -> list[Change]:
    """What keeps a checkpoint of one model from being gone on from as another.

    Args:
        old: The resolved `model` section of the checkpoint.
        new: That of the configuration.
        training: Whether training goes on; else the weights are only evaluated.
    """
    found = [change for change in changes({"model": old}, {"model": new}) if change.kind != "free"]
    return found if training else [change for change in found if not _matches(change.key, TRAINING)]


def refusals(found: list[Change], *, force: bool) -> list[str]:
    """One line for each change that keeps a run from going on; empty if it can."""
    fixed = [f"{change} (cannot change: start a new run)" for change in found if change.kind == "fixed"]
    guarded = [
        f"{change} (changes the result: --force to go on all the same)" for change in found if change.kind == "guarded"
    ]
    return fixed if force else fixed + guarded


def _kind(key: str) -> Kind:
    return "free" if _matches(key, FREE) else "fixed" if _matches(key, FIXED) else "guarded"


def _matches(key: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(key, pattern) for pattern in patterns)


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, child in value.items():
            yield from _leaves(child, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and any(isinstance(child, dict) for child in value):
        for index, child in enumerate(value):
            yield from _leaves(child, f"{key}.{index}")
    else:
        yield key, value

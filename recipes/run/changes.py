"""What may differ between a run and its continuation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any, Literal

Kind = Literal["fixed", "free", "guarded"]

FREE = (  # where, how long and how closely watched a run is; the numbers it computes stay the same
    "trainer.max_steps",
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
    "model.init_args.encoder.init_args.attention*",
    "data.init_args.micro_batch_size",
    "data.init_args.num_workers",
    "data.init_args.*folder*",
    "data.init_args.predict*",
)
FIXED = (  # another value makes another model, or other data: nothing could go on
    "seed_everything",
    "model.class_path",
    "model.init_args.encoder.*class_path",
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


def refusals(found: list[Change], *, force: bool) -> list[str]:
    """One line for each change that keeps a run from going on; empty if it can."""
    fixed = [f"{change} (cannot change: start a new run)" for change in found if change.kind == "fixed"]
    guarded = [
        f"{change} (changes the result: --force to go on all the same)" for change in found if change.kind == "guarded"
    ]
    return fixed if force else fixed + guarded


def _kind(key: str) -> Kind:
    if any(fnmatch(key, pattern) for pattern in FREE):
        return "free"
    return "fixed" if any(fnmatch(key, pattern) for pattern in FIXED) else "guarded"


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, child in value.items():
            yield from _leaves(child, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and any(isinstance(child, dict) for child in value):
        for index, child in enumerate(value):
            yield from _leaves(child, f"{key}.{index}")
    else:
        yield key, value

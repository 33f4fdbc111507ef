"""How long a run is, from its limits in steps and tokens; a limit in hours is none that masks can follow."""

from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest

from datamodules.horizon import expected_steps


def run(max_steps: int, max_tokens: int | None) -> Any:
    """A Trainer as far as its limits go."""
    return SimpleNamespace(max_steps=max_steps, lightning_module=SimpleNamespace(max_tokens=max_tokens))


@pytest.mark.parametrize(
    ("max_steps", "max_tokens", "steps"), [(10, None, 10), (-1, 1000, 12.5), (10, 1000, 10), (20, 1000, 12.5)]
)
def test_the_first_limit_counts(max_steps: int, max_tokens: int | None, steps: float) -> None:
    assert expected_steps(run(max_steps, max_tokens), lambda: 80.0) == steps


def test_tokens_are_counted_only_where_they_matter() -> None:
    assert expected_steps(run(7, None), lambda: pytest.fail("the corpus was read")) == 7


def test_a_run_without_such_an_end_is_refused() -> None:
    timed = L.Trainer(max_time={"hours": 1}, accelerator="cpu", logger=False, max_epochs=-1)
    for trainer in (timed, None):
        with pytest.raises(ValueError, match=r"set trainer\.max_steps or model\.init_args\.max_tokens"):
            expected_steps(trainer, lambda: 80.0)

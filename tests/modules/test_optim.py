"""Schedules at named steps, and weight decay in AdamW's terms."""

import math
from collections.abc import Callable

import pytest
import torch

from modules.contracts import Schedule
from modules.optim import Constant, Cosine, Linear, WarmupCosine, WarmupLinear, WarmupStableDecay

NUM_STEPS = 70_000


@pytest.mark.parametrize(("step", "multiplier"), [(0, 0.0), (2_100, 0.5), (4_200, 1.0), (37_100, 0.51), (70_000, 0.02)])
def test_the_papers_schedule_at_named_steps(step: int, multiplier: float) -> None:
    assert WarmupLinear()(step / NUM_STEPS) == pytest.approx(multiplier, rel=1e-12)


def test_the_papers_schedule_follows_its_formula_everywhere() -> None:
    schedule, warmup_steps = WarmupLinear(warmup=0.06, final=0.02), 4_200
    for step in range(0, NUM_STEPS + 1, 700):
        decayed = (step - warmup_steps) / (NUM_STEPS - warmup_steps)
        expected = step / warmup_steps if step < warmup_steps else 1 + decayed * (0.02 - 1)
        assert schedule(step / NUM_STEPS) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (Constant(0.3), {0.0: 0.3, 0.5: 0.3, 1.0: 0.3}),
        (Linear(0.3, 0.15), {0.0: 0.3, 0.5: 0.225, 1.0: 0.15}),
        (Cosine(0.3, 0.15), {0.0: 0.3, 0.25: 0.15 + 0.15 * (1 + math.sqrt(0.5)) / 2, 0.5: 0.225, 1.0: 0.15}),
        (WarmupLinear(warmup=0.0), {0.0: 1.0, 1.0: 0.02}),
        (WarmupCosine(warmup=0.2, final=0.1), {0.0: 0.0, 0.1: 0.5, 0.2: 1.0, 0.6: 0.55, 1.0: 0.1}),
        (WarmupStableDecay(warmup=0.1, decay=0.2), {0.05: 0.5, 0.1: 1.0, 0.8: 1.0, 0.9: 0.5, 1.0: 0.0}),
        (WarmupStableDecay(warmup=0.1, decay=0.0), {0.1: 1.0, 1.0: 1.0}),
    ],
)
def test_values(schedule: Schedule, values: dict[float, float]) -> None:
    for fraction, value in values.items():
        assert schedule(fraction) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: WarmupLinear(warmup=1.0), r"warmup=1.0 must be in \[0, 1\)"),
        (lambda: WarmupCosine(warmup=6), r"warmup=6 must be in \[0, 1\)"),
        (lambda: WarmupStableDecay(decay=-0.1), r"decay=-0.1 must be in \[0, 1\)"),
        (lambda: WarmupStableDecay(warmup=0.6, decay=0.6), "warmup=0.6 and decay=0.6 must not exceed 1"),
    ],
)
def test_wrong_values_are_named(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def decoupled_adamw(
    weight: torch.Tensor, gradients: list[torch.Tensor], rates: list[float], peak: float, decay: float
) -> torch.Tensor:
    """Composer's DecoupledAdamW, betas 0.9 and 0.98, eps 1e-6: the decay follows the schedule, not the rate."""
    first, second = torch.zeros_like(weight), torch.zeros_like(weight)
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.98 * second + 0.02 * gradient**2
        weight = weight * (1 - rate / peak * decay)
        unbiased = (first / (1 - 0.9**step)) / ((second / (1 - 0.98**step)).sqrt() + 1e-6)
        weight = weight - rate * unbiased
    return weight


def test_decoupled_decay_is_adamw_with_decay_over_peak_rate() -> None:
    torch.manual_seed(0)
    peak, decay, num_steps = 5e-4, 1e-5, 100
    schedule, start = WarmupLinear(), torch.randn(50, dtype=torch.float64)
    rates = [peak * schedule(step / num_steps) for step in range(num_steps)]
    gradients = [torch.randn(50, dtype=torch.float64) for _ in range(num_steps)]

    weight = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.AdamW([weight], lr=peak, betas=(0.9, 0.98), eps=1e-6, weight_decay=decay / peak)
    for gradient, rate in zip(gradients, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        weight.grad = gradient
        optimizer.step()

    assert decay / peak == pytest.approx(0.02)
    torch.testing.assert_close(
        weight.detach(), decoupled_adamw(start, gradients, rates, peak, decay), rtol=1e-12, atol=0
    )
    without = decoupled_adamw(start, gradients, rates, peak, 0.0)
    assert (weight.detach() - without).abs().max() > 1e-4  # the decay can be seen at all

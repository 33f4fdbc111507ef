"""Masking rates: constant ones, schedules over the steps of a run, and their errors."""

import pytest

from datamodules.text.masking_rate import MaskingRate


def falling(fraction: float) -> float:
    return 0.3 - 0.15 * fraction


def test_a_schedule_changes_between_steps_only() -> None:
    rate = MaskingRate(falling, batch_size=32, num_steps=10)
    rates = [rate.at(position) for position in (0, 31, 32, 160, 320, 999)]
    assert rates == pytest.approx([0.3, 0.3, 0.285, 0.225, 0.15, 0.15])
    assert rate.maximum() == pytest.approx(0.3)
    assert MaskingRate(0.2, 32).at(12345) == MaskingRate(0.2, 32).maximum() == 0.2


def test_a_run_may_end_inside_a_step() -> None:
    rate = MaskingRate(falling, batch_size=32, num_steps=2.5)
    assert [rate.at(32 * step) for step in range(4)] == pytest.approx([0.3, 0.24, 0.18, 0.15])
    assert rate.mean() == pytest.approx(0.225)


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"masking_rate=1\.2 must be in"):
        MaskingRate(lambda fraction: 1.2 * fraction, 32)
    with pytest.raises(ValueError, match=r"masking_rate=1\.5 must be in"):
        MaskingRate(1.5, 32)

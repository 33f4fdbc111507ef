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
    assert MaskingRate(0.2, 32, -1).at(12345) == MaskingRate(0.2, 32, -1).maximum() == 0.2


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"set trainer\.max_steps"):
        MaskingRate(falling, 32, -1)
    with pytest.raises(ValueError, match=r"masking_rate=1\.5 must be in"):
        MaskingRate(1.5, 32, -1)

"""Quantities as people write and read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.scaling import format_count, format_percent, format_usd, parse_count, parse_share, parse_usd_per_hour

COUNTS = {"7B": 7e9, "7b": 7e9, "2T": 2e12, "1.5 T": 1.5e12, "350M": 3.5e8, "8K": 8e3, "1e13": 1e13, "1_000": 1e3}
COUNTS |= {"0": 0.0, "-3B": -3e9, ".5": 0.5, "1e-3": 1e-3, "+2": 2.0}
READABLE = {"7B": 7e9, "6.969B": 6.969e9, "325B": 3.2502e11, "1M": 999_999, "999.9": 999.9, "1K": 1e3, "0": 0.0}
READABLE |= {"250T": 2.5e14, "1e+15": 1e15, "-4T": -4e12}


@pytest.mark.parametrize(("text", "value"), COUNTS.items())
def test_counts(text: str, value: float) -> None:
    assert parse_count("n", text) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize("text", ["", "B", "seven", "7X", "7BB", "1e400", "nan", "inf", "1,5", "7B tokens", "__"])
def test_what_is_no_count(text: str) -> None:
    with pytest.raises(ValueError, match="--demand="):
        parse_count("--demand", text)


@pytest.mark.parametrize("text", ["$1.50/h", "1.50/h", "1.5", "$1.5", "1.50 $/h", "$1.50 / hour", "1.5/hr"])
def test_prices(text: str) -> None:
    assert parse_usd_per_hour("price", text) == 1.5


@pytest.mark.parametrize("text", ["", "free", "$0/h", "-1", "$1.50/day", "1..5"])
def test_what_is_no_price(text: str) -> None:
    with pytest.raises(ValueError, match="--price="):
        parse_usd_per_hour("--price", text)


@pytest.mark.parametrize("text", ["0.4", "40%", " 40 % ", ".4"])
def test_shares(text: str) -> None:
    assert parse_share("share", text) == pytest.approx(0.4)


@pytest.mark.parametrize("text", ["40", "-0.1", "110%", "half", "%", "nan"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(ValueError, match=r"--share=.*write for example 0\.4 or 40%"):
        parse_share("--share", text)


@pytest.mark.parametrize(("text", "value"), READABLE.items())
def test_counts_as_text(text: str, value: float) -> None:
    assert format_count(value) == text


@given(st.floats(1, 1e14))
def test_counts_survive_being_written(value: float) -> None:
    assert parse_count("n", format_count(value)) == pytest.approx(value, rel=1e-3)


def test_money_and_shares_as_text() -> None:
    assert [format_usd(v) for v in (0.001234, 4.2, 1234.4, 1.088e7)] == ["$0.00123", "$4.20", "$1,234", "$10.88M"]
    assert [format_percent(v) for v in (0.174, 0.00846, -0.02)] == ["17.4%", "0.85%", "-2.00%"]

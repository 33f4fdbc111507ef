"""Quantities as people write and read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.scaling import format_count, format_percent, format_usd, parse_count, parse_usd_per_hour


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7B", 7000000000.0),
        ("7b", 7000000000.0),
        ("2T", 2000000000000.0),
        ("1.5 T", 1500000000000.0),
        ("350M", 350000000.0),
        ("8K", 8000.0),
        ("1e13", 10000000000000.0),
        ("1_000", 1000.0),
        ("0", 0.0),
        ("-3B", -3000000000.0),
        (".5", 0.5),
        ("1e-3", 0.001),
        ("+2", 2.0),
    ],
)
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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7000000000.0, "7B"),
        (6969000000.0, "6.969B"),
        (325020000000.0, "325B"),
        (999999, "1M"),
        (999.9, "999.9"),
        (1000.0, "1K"),
        (0, "0"),
        (250000000000000.0, "250T"),
        (1000000000000000.0, "1e+15"),
        (-4000000000000.0, "-4T"),
    ],
)
def test_counts_as_text(value: float, text: str) -> None:
    assert format_count(value) == text


@given(st.floats(1, 1e14))
def test_counts_survive_being_written(value: float) -> None:
    assert parse_count("n", format_count(value)) == pytest.approx(value, rel=1e-3)


def test_money_and_shares_as_text() -> None:
    assert [format_usd(v) for v in (0.001234, 4.2, 1234.4, 1.088e7)] == ["$0.00123", "$4.20", "$1,234", "$10.88M"]
    assert [format_percent(v) for v in (0.174, 0.00846, -0.02)] == ["17.4%", "0.85%", "-2.00%"]

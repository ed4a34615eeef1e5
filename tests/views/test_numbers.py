"""Every digit a user sees: decimals, signs, columns that are tiny, huge or not finite, bars."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attn_cli.views import numbers


@pytest.mark.parametrize(
    ("values", "digits", "expected"),
    [
        ([1.234, -1.234], 2, ["1.23", "−1.23"]),
        ([0.5, 12.345], 0, ["0", "12"]),
        ([12.345], 3, ["12.345"]),
        # What rounds to zero has no sign.
        ([-0.001, 1.0], 2, ["0.00", "1.00"]),
        ([-0.0], 2, ["0.00"]),
        ([1e5, -0.0], 2, ["1.00e+05", "0.00e+00"]),
        # Small columns get the decimals that tell their numbers apart.
        ([0.01234, -0.002], 2, ["0.012", "−0.002"]),
        ([0.00098, 0.0001], 2, ["0.00098", "0.00010"]),
        ([1e-7, -2e-7], 2, ["1.00e-07", "−2.00e-07"]),
        ([123456.0, -2.0], 1, ["1.2e+05", "−2.0e+00"]),
        ([3e38], 2, ["3.00e+38"]),
        ([5e-324], 1, ["4.9e-324"]),
        ([1.5, math.nan, math.inf, -math.inf], 2, ["1.50", "NaN", "∞", "−∞"]),
        ([math.nan], 2, ["NaN"]),
        ([-math.inf, -math.inf], 9, ["−∞", "−∞"]),
        ([], 2, []),
    ],
)
def test_a_column(values, digits, expected):
    assert numbers.column(values, digits) == expected


def test_infinities_do_not_set_the_decimals_of_the_rest():
    with_infinity = numbers.column([0.01234, -math.inf], 2)
    assert with_infinity == ["0.012", "−∞"]


def test_a_matrix_is_read_row_by_row():
    values = np.array([[1, 2], [3, 4]], np.float32)
    assert numbers.column(values, 1) == ["1.0", "2.0", "3.0", "4.0"]
    assert numbers.column(values.T, 1) == ["1.0", "3.0", "2.0", "4.0"]


@given(st.lists(st.floats(width=32), min_size=1, max_size=8), st.integers(0, 9))
def test_a_column_reads_back_to_within_its_last_digit(values, digits):
    texts = numbers.column(values, digits)
    finite = [abs(value) for value in values if math.isfinite(value)]
    largest = max(finite, default=0)
    assert len(texts) == len(values)
    for text, value in zip(texts, values, strict=True):
        assert "-" not in text.replace("e-", "")
        if not math.isfinite(value):
            assert text == ("NaN" if math.isnan(value) else "∞" if value > 0 else "−∞")
            continue
        back = float(text.replace("−", "-"))
        assert abs(back - value) <= max(largest, abs(value)) * 0.51 * 10.0**-digits + 5e-324 or (
            abs(back - value) <= 0.51 * 10.0**-digits
        )
        assert math.copysign(1, back) == 1 or back < 0
    # One number of decimals for all of a column.
    assert len({len(t.partition(".")[2].partition("e")[0]) for t in texts if t[-1].isdigit()}) <= 1


def test_one_number_is_a_column_of_one():
    for value in (0.0, -0.002, 3.14159, 1e9, math.nan):
        assert numbers.number(value, 3) == numbers.column([value], 3)[0]


@pytest.mark.parametrize(
    ("share", "width", "expected"),
    [
        (0, 8, ""),
        (1, 8, "████████"),
        (0.5, 8, "████"),
        (1 / 16, 8, "▌"),
        (1 / 64, 8, "▏"),
        (0.99999, 4, "████"),
        (2.0, 4, "████"),
        (-1.0, 4, ""),
        (math.nan, 4, ""),
        (math.inf, 4, ""),
        (0.5, 0, ""),
    ],
)
def test_bars(share, width, expected):
    assert numbers.bar(share, width) == expected


@given(st.floats(0, 1), st.integers(1, 60))
def test_a_bar_is_as_long_as_its_share_to_an_eighth(share, width):
    bar = numbers.bar(share, width)
    length = sum(1 if char == "█" else (" ▏▎▍▌▋▊▉".index(char)) / 8 for char in bar)
    assert abs(length - share * width) <= 1 / 16 + 1e-9
    assert len(bar) <= width


def test_the_sizes_of_marks_grow_with_the_share():
    sizes = numbers.level(np.linspace(0, 1, 101)).tolist()
    assert sizes == sorted(sizes)
    assert set(sizes) == set(range(5))
    assert (sizes[0], sizes[-1]) == (0, 4)
    assert all(abs(size / 4 - share / 100) <= 0.25 for share, size in enumerate(sizes))
    assert numbers.level(np.array([math.nan])).tolist() == [0]

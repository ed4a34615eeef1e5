"""Every digit a user sees in a table is written here."""

import math
from collections.abc import Iterable

import numpy as np

_BLOCKS = " ▏▎▍▌▋▊▉"


def column(values: Iterable[float] | np.ndarray, digits: int) -> list[str]:
    """Numbers that stand together, with the same decimals: enough to tell them apart.

    `digits` decimals where the largest is about 1; more for smaller numbers, a power of ten for
    numbers that would not fit.
    """
    numbers = np.asarray(values, dtype=np.float64).ravel()
    finite = np.abs(numbers[np.isfinite(numbers)])
    largest = float(finite.max()) if finite.size else 0.0
    if largest >= 1e5 or 0 < largest < 1e-6:
        pattern = f"%.{digits}e"
    else:
        extra = max(0, -math.floor(math.log10(largest)) - 1) if largest else 0
        pattern = f"%.{digits + extra}f"
    return [_one(value, pattern) for value in numbers.tolist()]


def number(value: float, digits: int = 2) -> str:
    """One number on its own, written as a column of one."""
    return column([value], digits)[0]


def _one(value: float, pattern: str) -> str:
    if math.isfinite(value):
        text = pattern % (value + 0.0)  # −0.0 becomes 0.0
        if text[0] == "-":
            # What rounds to zero has no sign.
            return text[1:] if not text.strip("-0.") else f"−{text[1:]}"
        return text
    return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"


def bar(share: float, width: int) -> str:
    """A horizontal bar of `width` columns for a share of 1, to an eighth of a column."""
    eighths = round(max(0.0, min(1.0, share if math.isfinite(share) else 0.0)) * width * 8)
    return ("█" * (eighths // 8) + _BLOCKS[eighths % 8]).rstrip()


def shade(share: float) -> str:
    """A grey for a share between 0 and 1, one character."""
    if math.isnan(share):
        return "?"
    return " ░▒▓█"[min(4, max(0, math.ceil(share * 4 - 0.1)))]


def size(count: float) -> str:
    """Bytes in the unit that fits."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"

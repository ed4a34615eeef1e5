"""Every digit a user sees in a page is written here."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from attn_cli.views.text import visible
from attn_cli.words import Note, sentence

_BLOCKS = " ▏▎▍▌▋▊▉"
_TINY, _LONG = 1e-6, 1e7


class Number(NamedTuple):
    """A number in a sentence or a cell with the decimals, at least `least`, of `all` that are
    compared with it, itself included. One that stands alone is a float."""

    value: float
    all: Sequence[float]
    least: int = 2


def together(*values: float) -> tuple[Number, ...]:
    """Numbers that are compared, with the same decimals."""
    return tuple(Number(value, values) for value in values)


def in_words(said: object, digits: int) -> str:
    """A sentence, a number or ready text as a user reads it.

    No value of a document moves the screen: what would is shown, but for the ends of lines.
    """
    if isinstance(said, Note):
        return sentence(said.key, **{k: in_words(v, digits) for k, v in said.values.items()})
    if isinstance(said, Number):
        pattern = _pattern(np.asarray(said.all, np.float64), max(digits, said.least))
        return _one(said.value, pattern)
    text = number(said, digits) if isinstance(said, float) else str(said)
    return text if text.isprintable() else "\n".join(map(visible, text.split("\n")))


def exact(value: float) -> str:
    """A number as it was typed, whatever the decimals of the page."""
    return f"{value:g}".replace("-", "−")


def column(values: Iterable[float] | np.ndarray, digits: int) -> list[str]:
    """Numbers that stand together, with the same decimals: enough to tell them apart.

    `digits` decimals where the largest is about 1; more for smaller numbers, a power of ten for
    numbers that would not fit.
    """
    numbers = np.asarray(values, dtype=np.float64).ravel()
    pattern = _pattern(numbers, digits)
    return [_one(value, pattern) for value in numbers.tolist()]


def _pattern(numbers: np.ndarray, digits: int) -> str:
    finite = np.abs(numbers[np.isfinite(numbers)])
    largest = float(finite.max()) if finite.size else 0.0
    if largest >= 1e5 or 0 < largest < _TINY:
        return f"%.{digits}e"
    return f"%.{decimals(largest, digits)}f"


def decimals(size: float, digits: int) -> int:
    """`digits`, and as many more as a number of this size has zeros before its first digit."""
    return digits + (max(0, -math.floor(math.log10(size)) - 1) if size >= _TINY else 0)


def as_written(values: np.ndarray, digits: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers as `column` writes them, and one unit of the last digit of each."""
    texts = column(values, digits)
    written = np.array([read(text) for text in texts]).reshape(values.shape)
    units = np.array([_unit(text) for text in texts]).reshape(values.shape)
    return written, units


def _unit(text: str) -> float:
    """One unit of the last digit of a number as it is written."""
    mantissa, _, power = text.partition("e")
    return 10.0 ** (int(power or 0) - len(mantissa.partition(".")[2]))


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


def decimal(value: float, decimals: int) -> str:
    """So many decimals; a power of ten with as many for what is too long or too short for that."""
    plain = not value or _TINY <= abs(value) < _LONG
    return _one(value, f"%.{decimals}{'f' if plain else 'e'}")


def read(text: str) -> float:
    """A number that `decimal` has written."""
    return float(text.replace("−", "-").replace("∞", "inf"))


def count(value: float) -> str:
    """A whole number, its thousands apart."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}"


def fixed(value: float, decimals: int = 2) -> str:
    """So many decimals whatever the size, for what is drawn anew in the same place."""
    return f"{value:.{decimals}f}".replace("-", "−")


def power(value: float) -> str:
    """An error, of which only the size matters."""
    return _one(value, "%.1e")


def clock(seconds: float) -> str:
    """`1:02:03`, without the hours below one hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def bar(share: float, width: int) -> str:
    """A horizontal bar of `width` columns for a share of 1, to an eighth of a column."""
    eighths = round(max(0.0, min(1.0, share if math.isfinite(share) else 0.0)) * width * 8)
    return ("█" * (eighths // 8) + _BLOCKS[eighths % 8]).rstrip()


# Where each size of a mark but nothing begins, as a share of the largest.
LEVELS = (0.025, 0.275, 0.525, 0.775)


def level(shares: np.ndarray) -> np.ndarray:
    """The size of a mark for shares between 0 and 1: 0 for nothing, 4 for the largest."""
    return np.searchsorted(LEVELS, np.nan_to_num(shares), side="left")

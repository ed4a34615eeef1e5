"""Workbooks as XlsxWriter writes them: the same contents give the same bytes."""

import io
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np

from attn_cli.errors import ContentError
from attn_cli.views import numbers
from attn_cli.views.items import Words
from attn_cli.views.text import visible
from attn_cli.words import sentence

_LONGEST = 32_767  # characters of a cell
_MADE = datetime(2000, 1, 1, tzinfo=UTC).replace(tzinfo=None)


def load() -> Any:
    """The package that writes; a ContentError with the command that installs it."""
    try:
        import xlsxwriter
    except ImportError:
        raise ContentError(sentence("xlsx.lacks"), sentence("xlsx.lacks_hint")) from None
    return xlsxwriter


def written(fill: Callable[[Any], None]) -> bytes:
    """The file of a workbook that is filled in so. Raises ContentError."""
    out = io.BytesIO()
    book = load().Workbook(out, {"in_memory": True})
    book.set_properties({"created": _MADE})
    fill(book)
    book.close()
    return out.getvalue()


class Book:
    """Writes cells into a workbook. Text is always written as text, whatever it begins with."""

    def __init__(self, book: Any) -> None:
        self.book = book
        quoted = {"quote_prefix": True}
        self.plain = book.add_format(quoted)
        self.heading = book.add_format({**quoted, "bold": True, "bottom": 1})
        self.title = book.add_format({**quoted, "bold": True})
        self.formats: dict[tuple[str, bool], Any] = {}

    def text(self, page: Any, row: int, column: int, words: Words, form: Any) -> None:
        """A cell of text, as long as one may be."""
        text = visible(str(words))
        text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
        page.write_string(row, column, text, form)

    def number(self, page: Any, row: int, column: int, value: float, form: Any) -> None:
        """A cell of a number, or of the word for one that is none."""
        if math.isfinite(value):
            page.write_number(row, column, value, form)
        else:
            page.write_string(row, column, shown(value), form)

    def format(self, pattern: str, *, changes: bool = False) -> Any:
        """How numbers look; what may be changed is marked."""
        if (pattern, changes) not in self.formats:
            look = {"num_format": pattern} if pattern else {}
            look |= {"bg_color": "#FFF8DC"} if changes else {}
            self.formats[pattern, changes] = self.book.add_format({**look, "align": "right"})
        return self.formats[pattern, changes]


def shown(value: float) -> float | str:
    """A number, or what stands for one that is none."""
    return value if math.isfinite(value) else numbers.decimal(value, 0)


def pattern(values: np.ndarray, digits: int) -> str:
    """How a sheet shows numbers that stand together; its cells hold all their digits."""
    sizes = np.abs(values)
    largest = float(sizes[np.isfinite(sizes)].max(initial=0))
    decimals = numbers.decimals(largest, digits)
    return f"0.{'0' * decimals}" if decimals else "0"

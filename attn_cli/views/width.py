"""The columns that a terminal draws text in, as Unicode's tables have them."""

import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from rich import cells

_FIRST = "\u0903"  # of the marks that take a column
_ASAT = "\u103a"  # which joins no letters, although it is a virama
_FLAG = "\U0001f1e6", "\U0001f1ff"


def cell_len(text: str) -> int:
    """The columns of a text. Rich counts none for a mark beside its letter."""
    if text.isascii() or max(text) < _FIRST:
        return cells.cell_len(text)
    return _cell_len(text)


@lru_cache(maxsize=4096)
def _cell_len(text: str) -> int:
    """Letters that are joined take two columns at most, and marks beside them one together."""
    found: list[int] = []
    joined = spaced = half = False
    for char in text:
        flag = _FLAG[0] <= char <= _FLAG[1]
        half = flag and not half
        if flag and not half:  # both halves are counted with the first
            continue
        size = 2 if flag else cells.get_character_cell_size(char)
        category = unicodedata.category(char)
        if category[0] == "M":
            virama = unicodedata.combining(char) == 9 and char != _ASAT
            joined = virama or (joined and category == "Mn")
            if category == "Mc" and found and not (virama or spaced):
                found[-1] = min(2, found[-1] + 1)
                spaced = True
        elif size:
            if joined and found:
                found[-1] = min(2, found[-1] + size)
            else:
                found.append(size)
            joined = spaced = False
    return sum(found)


def chop_cells(text: str, width: int) -> list[str]:
    """A text in lines of so many columns, or of one letter; marks stay with their letters."""
    if text.isascii():
        return [text[at : at + width] for at in range(0, len(text), width)]
    lines: list[str] = []
    for letter in _letters(text):
        if lines and cell_len(lines[-1] + letter) <= width:
            lines[-1] += letter
        else:
            lines.append(letter)
    return lines


def _letters(text: str) -> Iterator[str]:
    """Each letter with what takes no column of its own, the halves of a flag together."""
    begin = flags = 0
    for at, char in enumerate(text):
        flag = _FLAG[0] <= char <= _FLAG[1]
        goes_on = unicodedata.category(char)[0] == "M" or not cells.get_character_cell_size(char)
        if at > begin and not (goes_on or (flag and flags % 2)):
            yield text[begin:at]
            begin = at
        flags = flags + 1 if flag else 0
    if text:
        yield text[begin:]

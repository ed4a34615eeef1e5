"""Matrices as cells with a mark for each size, legible without colour: shades, or dots.

A cell takes two columns of the screen, so that it is about as wide as high.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from rich.padding import Padding
from rich.text import Text

from attn_cli.views import numbers
from attn_cli.views.items import Grids, Matrix, Measured, Page, Words
from attn_cli.views.look import STYLES, Look
from attn_cli.views.matrix import (
    SIGNS,
    as_laid_out,
    both_ends,
    draw_matrix,
    left_out,
    signs,
    titled,
)
from attn_cli.views.strips import INDENT, Drawn, fitted, packed, pad, widest
from attn_cli.views.width import cell_len
from attn_cli.words import sentence

# Rows and columns that are shown before any is left out.
_MOST = 96
_ROWS = 256  # looked through at once
_GAP, _MARKED = "…", "▾"


class Marks(NamedTuple):
    """The marks of a view, each two columns wide, from nothing to the largest size: of numbers
    `above` and `below` zero, and of a cell that is `hidden`. `narrow` are marks of one column for
    numbers of which none is below zero, the hidden cell's last, if there are any."""

    above: tuple[str, ...]
    below: tuple[str, ...]
    hidden: str
    narrow: tuple[str, ...] = ()


SHADES = Marks(
    ("  ", "░░", "▒▒", "▓▓", "██"), ("  ", "−░", "−▒", "−▓", "−█"), "· ",
    (" ", "░", "▒", "▓", "█", "·"),
)  # fmt: skip
DOTS = Marks(("  ", "· ", "• ", "● ", "⬤ "), ("  ", "- ", "◦ ", "○ ", "◯ "), "× ")


class _Grid(NamedTuple):
    """What is shown of a matrix (row, column) whose largest number is `size`, each cell in `width`
    columns of the screen; the `lines`, which are rows, or −n for n rows left out, with a label
    each; a number for each column; the `row` and the `column` that are marked, −1 where none is."""

    item: Matrix
    marks: Marks
    size: float
    width: int
    lines: list[int]
    labels: list[str]
    heads: list[str]
    row: int
    column: int

    def drawn(self, panel: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """The marks of the shown rows in a panel's columns, and the places of their styles."""
        at = np.ix_([i for i in self.lines if i >= 0], [j for j in panel if j >= 0])
        values = self.item.values[at].astype(np.float64)
        hidden = self.item.hidden[at] if self.item.hidden.size else np.zeros(values.shape, bool)
        texts = marked(values, hidden, self.marks, self.size, narrow=self.width == 1)
        return texts, signs(np.where(hidden, 0, values), self.size)


def pictured(page: Page) -> bool:
    """Whether anything of a page is drawn as cells."""
    return any(isinstance(item, Matrix | Grids | Measured) for item in page)


def draw_measured(item: Measured, look: Look, marks: Marks) -> Iterator[Drawn]:
    """The numbers of a table as cells."""
    yield from draw_cells(item.matrix, look, marks)


def draw_cells(item: Matrix, look: Look, marks: Marks) -> Iterator[Drawn]:
    """The cells under a line with name, shape and axes, in panels where the width needs them; then
    what the marks mean, and the names of columns that are not those of the rows. A `whole`
    matrix stays a table."""
    if item.whole:
        yield from draw_matrix(item, look)
        return
    item, turned = as_laid_out(item, look)
    yield titled(item, turned)
    names, named = _row_names(item)
    room = look.width - INDENT - 2
    row, column = (-1, item.marked) if turned else (item.marked, -1)
    lines = both_ends(len(names), len(names) if look.full else _MOST, row)
    labels = fitted([left_out(-i) if i < 0 else names[i] for i in lines], room // 2)
    room -= widest(labels)
    size, negative = _extent(item)
    narrow = bool(marks.narrow) and room // 2 < len(item.columns) and not negative
    grid = _Grid(
        item, marks, size, 1 if narrow else 2, lines, labels, _numbered(item.columns), row, column,
    )  # fmt: skip
    panels = _panels(len(item.columns), max(1, room // grid.width), column, look.full)
    used: set[str] = set()
    for panel in panels:
        texts, found = grid.drawn(panel)
        used |= {*texts.reshape(-1).tolist()} | ({"−"} if (found < 0).any() else set())
        yield _panel(grid, panel, texts, found, colour=look.colour)
    yield _beside(_scale(grid, used, look.digits), look)
    if not named:
        pairs = zip(grid.heads, item.columns, strict=True)
        words = [f"{head} {name}" for head, name in pairs if not isinstance(name, int)]
        yield _beside([sentence("cells.columns"), *words], look)
    if min([*lines, *(j for panel in panels for j in panel)], default=0) < 0 and item.elided:
        yield Padding(Text(str(item.elided)), (0, 1, 0, INDENT))


def _extent(item: Matrix) -> tuple[float, bool]:
    """The largest size of a number that is not hidden, and whether one is below zero.

    Some rows at a time: a matrix may be all that there is room for.
    """
    size, negative = 0.0, False
    for some in (slice(i, i + _ROWS) for i in range(0, len(item.values), _ROWS)):
        seen = item.values[some]
        seen = seen[~item.hidden[some]] if item.hidden.size else seen
        size = max(size, float(np.abs(seen[np.isfinite(seen)]).max(initial=0.0)))
        negative = negative or bool((seen < 0).any())
    return size, negative


def _row_names(item: Matrix) -> tuple[list[str], bool]:
    """The names of the rows, with their numbers where the columns are the same tokens; and whether
    the columns need no names of their own then."""
    rows, columns = list(map(str, item.rows)), list(map(str, item.columns))
    if all(isinstance(column, int) for column in item.columns):
        return rows, True
    same = rows == columns
    return [f"{i} {name}" for i, name in enumerate(rows)] if same else rows, same


def _numbered(columns: Sequence[Words | int]) -> list[str]:
    """What stands above the columns: their numbers, letters for the words among these."""
    if not any(isinstance(column, int) for column in columns):
        return [str(i) for i in range(len(columns))]
    letters = iter("abcdefgh")
    return [str(c) if isinstance(c, int) else next(letters, "*") for c in columns]


def marked(
    values: np.ndarray, hidden: np.ndarray, marks: Marks, size: float = 1.0, *, narrow: bool = False
) -> np.ndarray:
    """The mark of each number, as large as its share of `size`; `hidden` broadcasts to it."""
    above, below, mark = marks.above, marks.below, marks.hidden
    if narrow:
        (*above, mark) = below = marks.narrow
    level = numbers.level(np.abs(values) / (size or 1.0))
    texts = np.where(values < 0, np.array(below, object)[level], np.array(above, object)[level])
    special = {"?": np.isnan(values), "∞": np.isposinf(values), "−∞": np.isneginf(values)}
    for text, where in special.items():
        texts[where] = text.ljust(len(mark))
    texts[np.broadcast_to(hidden, texts.shape)] = mark
    return texts


def _panels(count: int, across: int, also: int, full: bool) -> list[list[int]]:
    """The columns of each panel; −n for n columns left out in the middle of a single one."""
    if not full and count > max(_MOST, across):
        return [both_ends(count, max(2, across - 2), also)]
    across = -(-count // -(-count // across)) if count else 1  # as many in each, about
    return [list(range(count))[i : i + across] for i in range(0, count, across)]


def _panel(
    grid: _Grid, panel: list[int], texts: np.ndarray, of_signs: np.ndarray, *, colour: bool
) -> Text:
    margin, columns = widest(grid.labels), iter(range(len(panel)))
    places = [-1 if j < 0 else next(columns) for j in panel]
    lines = [Text(f"{'':{INDENT + margin}}  {line}".rstrip()) for line in _headings(grid, panel)]
    rows = iter(range(len(texts)))
    for label, line in zip(grid.labels, grid.lines, strict=True):
        if grid.item.summed and line == len(grid.item.values) - 1:
            rule = "─" * (margin + 2 + grid.width * len(panel))
            lines.append(Text(f"{'':{INDENT}}{rule}"))
        before = "  ▸ " if line == grid.row >= 0 else f"{'':{INDENT}}"
        text = Text.assemble(before, (f"{pad(label, margin)}  ", STYLES["plain"]))
        row = -1 if line < 0 else next(rows)
        for j in places:
            gap = j < 0 or row < 0
            mark = _GAP.ljust(grid.width) if gap else texts[row, j]
            text.append(mark, STYLES[SIGNS[0 if gap or not colour else of_signs[row, j]]])
        text.rstrip()
        lines.append(text)
    return Text("\n").join(lines)


def _headings(grid: _Grid, panel: list[int]) -> Iterator[str]:
    """The numbers of the columns, each written downwards, all digits only where they change."""
    if grid.column in panel:
        yield "".join((_MARKED if j == grid.column else "").ljust(grid.width) for j in panel)
    high = max(len(grid.heads[j]) for j in panel if j >= 0)
    heads = [grid.heads[j].rjust(high) if j >= 0 else _GAP.rjust(high) for j in panel]
    for place in range(high):
        before, line = "", []
        for head in heads:
            same = place < high - 1 and head[: place + 1] == before
            line.append((" " if same else head[place]).ljust(grid.width))
            before = head[: place + 1]
        yield "".join(line)


def _scale(grid: _Grid, used: Collection[str], digits: int) -> list[str]:
    """What each mark means, as far as any is `used`; `−` is where a number below zero is."""
    marks, size, above, hidden = grid.marks, grid.size, grid.marks.above, grid.marks.hidden
    if grid.width == 1:
        (*above, hidden) = marks.narrow

    def written(number: float) -> str:
        return numbers.in_words(numbers.Number(number, (size,), 0), digits)

    said = [sentence("cells.size" if size else "cells.nothing")]
    if size:
        said += [
            sentence("cells.mark", mark=mark.strip(), least=written(size * share))
            for mark, share in zip(above[1:], numbers.LEVELS, strict=True)
        ]
        said.append(sentence("cells.largest", largest=written(size)))
    if "−" in used:
        said.append(sentence("cells.below", marks=" ".join(m.strip() for m in marks.below[1:])))
    if "?".ljust(grid.width) in used:
        said.append(sentence("cells.nan"))
    if hidden in used:
        said.append(sentence("cells.hidden", mark=hidden.strip()))
    return said


def _beside(parts: Sequence[str], look: Look) -> Padding:
    """Parts that belong to a matrix, in lines that end between two of them."""
    room = look.width - INDENT - 1
    lines = packed([cell_len(part) + 3 for part in parts], room + 3)
    text = "\n".join("   ".join(parts[i] for i in line) for line in lines)
    return Padding(Text(text), (0, 1, 0, INDENT))

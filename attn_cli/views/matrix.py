"""Matrices and columns as tables. A matrix is elided in the middle, or split into panels, so that
it fits, and told line by line where no table does; columns are split and folded."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from rich.padding import Padding
from rich.text import Text

from attn_cli.views import numbers
from attn_cli.views.items import Column, Columns, Matrix, axes_of
from attn_cli.views.look import STYLES, Look
from attn_cli.views.strips import INDENT, Drawn, Strip, fitted, folded, packed, side_by_side, widest
from attn_cli.views.width import cell_len
from attn_cli.words import sentence

FINE = 2
_BAR = 16
MOST_ROWS = 12
_MOST_CELLS = 6
_HEADING = 8
_NAME = 8
# By the sign of a number, twice that of a large one; a negative place counts from the end.
SIGNS = ("plain", "above", "above.large", "below.large", "below")


class _Grid(NamedTuple):
    """What is shown of a matrix: texts and styles (line, column) under headings, a label before
    each line. `lines` are the rows, −n for n rows left out; `column` is marked, and some `marked`
    lines."""

    lines: list[int]
    labels: list[str]
    headings: list[str]
    texts: np.ndarray
    styles: np.ndarray
    marked: list[int]
    column: int


def draw_matrix(item: Matrix, look: Look) -> Iterator[Drawn]:
    """The tables under a line with name, shape and which axis is which."""
    look = look._replace(full=look.full or item.whole)
    item, turned = as_laid_out(item, look)
    yield titled(item, turned)
    grid = _grid(item, look, turned)
    tables = list(_tables(grid, look, item.summed)) or [_told(grid, look)]
    yield from (table for table, _ in tables)
    if item.elided and any(elided for _, elided in tables):
        yield Padding(Text(str(item.elided)), (0, 1, 0, INDENT))


def as_laid_out(item: Matrix, look: Look) -> tuple[Matrix, bool]:
    """The matrix as `look` wants it laid out, and whether that turns it round."""
    if not look.columns_are_queries or item.axes or item.summed:
        return item, False
    return item._replace(
        values=item.values.T, rows=item.columns, columns=item.rows, hidden=item.hidden.T,
        blanks=item.blanks.T,
    ), True  # fmt: skip


def titled(item: Matrix, turned: bool) -> Padding:
    """The line above a matrix: its name, its shape, which axis is which, what numbers it has."""
    axes = item.axes or axes_of(crosses=item.crosses, columns_are_queries=turned)
    text = Text.assemble((str(item.name), STYLES["plain" if item.summed else "strong"]))
    if not item.summed:
        shape = " × ".join(map(str, item.values.shape))
        text.append(f"   {shape}   {axes}")
    if item.remark:
        text.append(f"   {item.remark}", STYLES["what-if"])
    return Padding(text, (1, 0, 0, INDENT))


def _grid(item: Matrix, look: Look, turned: bool) -> _Grid:
    rows, headings = list(map(str, item.rows)), list(map(str, item.columns))
    row, column = (-1, item.marked) if turned else (item.marked, -1)
    if column >= 0:
        headings[column] = f"▸{headings[column]}"
    lines = both_ends(len(rows), len(rows) if look.full else MOST_ROWS, row)
    real = [i for i in lines if i >= 0]
    values = item.values[real].astype(np.float64)
    if item.hidden.size:
        values = np.where(item.hidden[real] & ~np.isneginf(values), np.nan, values)
    texts = np.full((len(lines), len(headings)), "⋮", dtype=object)
    styles = np.full(texts.shape, "", dtype=object)
    shown = np.array([i >= 0 for i in lines], dtype=bool)
    texts[shown] = cell_texts(
        values, item.blanks[real] if item.blanks.size else item.blanks, look.digits
    )
    if item.hidden.size:
        texts[shown] = np.where(item.hidden[real] & np.isnan(values), "·", texts[shown])
    if look.colour:
        names = np.array([STYLES[name] for name in SIGNS], dtype=object)
        styles[shown] = names[signs(values)]
    labels = [left_out(-i) if i < 0 else rows[i] for i in lines]
    return _Grid(
        lines, labels, headings, texts, styles, [] if row < 0 else [lines.index(row)], column
    )


def cell_texts(values: np.ndarray, blanks: np.ndarray, digits: int) -> np.ndarray:
    """Numbers as they are written together; `(3) ____` where one is left blank."""
    texts = np.array(numbers.column(values, digits), object).reshape(values.shape)
    for row, column in np.argwhere(blanks):
        texts[row, column] = f"({blanks[row, column]}) ____"
    return texts


def left_out(count: int) -> str:
    """How many rows or columns stand where none is shown."""
    return sentence("page.more", count=count)


def both_ends(count: int, most: int, also: int = -1) -> list[int]:
    """Indices to show: all, or the first and last, and `also`; −n for n left out between them."""
    if count <= most:
        return list(range(count))
    head = (most + 1) // 2
    shown = sorted({*range(head), *range(count - most + head, count), *[also][: also >= 0]})
    kept = []
    for i, following in zip(shown, [*shown[1:], count], strict=True):
        kept += [i, i + 1 - following] if following - i > 1 else [i]
    return kept


def _tables(grid: _Grid, look: Look, summed: bool) -> Iterator[tuple[Text, bool]]:
    """One table, or with `look.full` as many panels as the width needs; whether it has gaps.
    None where the screen is too narrow for a table."""
    room = look.width - INDENT - 2
    labels = fitted(grid.labels, room // 2)
    needed = [widest(texts) for texts in grid.texts.T]
    width, panels = _arranged(grid, needed, room - widest(labels), look.full)
    styles = [STYLES["strong" if i in grid.marked else "plain"] for i in range(len(labels))]
    for panel in panels:
        strips = [Strip([], labels, True, styles)]
        for j in panel:
            if j >= 0:
                header = folded(grid.headings[j], max(width, needed[j]))
                texts, shades = grid.texts[:, j].tolist(), grid.styles[:, j].tolist()
                strips.append(Strip(header, texts, False, shades))
            else:
                name = left_out(-j)
                gap = Text("…")
                gap.align("center", cell_len(name))
                strips.append(Strip([name], [gap.plain] * len(labels)))
        table = side_by_side(strips, marked=grid.marked, ruled=False, summed=summed)
        yield table, min([*grid.lines, *panel], default=0) < 0


def _arranged(grid: _Grid, needed: list[int], room: int, full: bool) -> tuple[int, list[list[int]]]:
    """How wide a heading may be, and the columns of each panel, where at least two fit; one panel
    with a gap in the middle unless `full`. Headings are folded before columns are left out."""
    wide, least = widest(grid.headings), max(needed, default=0)
    headings = [cell_len(heading) for heading in grid.headings]
    for width in range(max(wide, least), least - 1, -1):
        widths = [max(n, min(h, width)) for n, h in zip(needed, headings, strict=True)]
        if sum(widths) + 2 * len(widths) <= room:
            return width, [list(range(len(widths)))]
    for width in (wide, _HEADING, least) if full else (_HEADING, least):
        widths = [max(n, min(h, width)) for n, h in zip(needed, headings, strict=True)]
        if full and 2 * (max(widths) + 2) <= room:
            return width, packed([width + 2 for width in widths], room)
        gap = cell_len(left_out(len(widths))) + 2
        for most in range(0 if full else (room - gap) // (max(widths) + 2), 1, -1):
            kept = both_ends(len(widths), most, grid.column)
            gaps = sum(j < 0 for j in kept)
            if (len(kept) - gaps) * (max(widths) + 2) + gaps * gap <= room:
                return width, [kept]
    return 0, []


def _told(grid: _Grid, look: Look) -> tuple[Text, bool]:
    """A line for each cell, `is → China 0.93`, the middle ones left out unless `look.full`."""
    count = len(grid.headings)
    kept = both_ends(count, count if look.full else _MOST_CELLS, grid.column)
    room = look.width - INDENT - 2 - max(map(widest, grid.texts))
    beside = room >= _NAME
    if not beside:  # each number has a line of its own
        room = look.width - INDENT
    names, texts, styles, marked = [], [], [], set()
    for line, words, cell, style in _one_by_one(grid, kept):
        if line in grid.marked:
            marked.add(len(names))
        whole = " ".join(words)
        parts = folded(words[0], room)
        parts += [f"  {part}" for word in words[1:] for part in folded(word, room - 2)]
        parts = [whole] if cell_len(whole) <= room else parts
        parts += [cell] * bool(cell and not beside)
        names += parts
        texts += [*[""] * (len(parts) - 1), cell]
        styles += [*[""] * (len(parts) - 1), style]
    strips = [Strip([], names, True, () if beside else styles)]
    strips += [Strip([], texts, False, styles)] * beside
    told = side_by_side(strips, marked=marked)
    return told, min([*grid.lines, *kept], default=0) < 0


def _one_by_one(grid: _Grid, kept: list[int]) -> Iterator[tuple[int, list[str], str, str]]:
    """The line, name, text and style of each cell, and of what is left out between them."""
    for line, label in enumerate(grid.labels):
        if grid.lines[line] < 0:
            yield line, [label], "", ""
            continue
        for j in kept:
            if j < 0:
                yield line, [left_out(-j)], "", ""
            else:
                name = [f"{label} →", grid.headings[j]]
                yield line, name, grid.texts[line, j], grid.styles[line, j]


def signs(values: np.ndarray, largest: float | None = None) -> np.ndarray:
    """The place of each number's style in `SIGNS`; a number is large above half the `largest`, of
    these unless one is given."""
    size = np.abs(np.where(np.isfinite(values), values, 0))
    sign = np.sign(np.where(np.isfinite(values), values, 0))
    most = size.max(initial=0.0) if largest is None else largest
    return (sign * (1 + (size > most / 2))).astype(int)


def draw_columns(item: Columns, look: Look) -> Iterator[Drawn]:
    """The table under its title if it has one, and below it how many rows are left out."""
    yield from title_of(item, look)
    rows, more = rows_of(item, look)
    headers = [numbers.in_words(column.header, look.digits) for column in item.columns]
    bar = min(_BAR, (look.width - INDENT) // 2 - 2)
    cells = [texts_of(column, rows, look.digits, bar) for column in item.columns]
    left = [column.kind in ("left", "bar") for column in item.columns]
    yield from _column_tables(headers, cells, left, look.width - INDENT)
    yield from more


def title_of(item: Columns, look: Look) -> Iterator[Drawn]:
    """The line above columns, if they have one."""
    if item.title:
        title = Text(numbers.in_words(item.title, look.digits), STYLES["strong"])
        yield Padding(title, (1, 0, 0, 1))


def rows_of(item: Columns, look: Look) -> tuple[Sequence[int], list[Drawn]]:
    """Which rows are shown, −n for n left out between them, and the line that says how many are."""
    count = len(item.columns[0].cells)
    most = count if look.full or not item.most else MOST_ROWS * (1 + (item.most == "ends"))
    shown = min(count, most)
    rows = range(count - shown, count) if item.most == "last" else range(shown)
    more = Text(sentence("mask.more", count=count - shown))
    kept = both_ends(count, shown) if item.most == "ends" else rows
    return kept, [Padding(more, (0, 1, 0, INDENT))] if shown < count else []


def texts_of(column: Column, rows: Sequence[int], digits: int, bar: int) -> list[str]:
    """Rows of a column as they are written, a bar with at most `bar` columns of the screen."""
    texts = iter(_written(column, [column.cells[i] for i in rows if i >= 0], digits, bar))
    return [next(texts) if i >= 0 else "…" for i in rows]


def _written(column: Column, cells: Sequence[object], digits: int, bar: int) -> list[str]:
    if column.kind in ("number", "fine"):
        return numbers.column(cells, max(digits, FINE) if column.kind == "fine" else digits)
    if column.kind == "bar":
        return [numbers.bar(share, bar) for share in cells]
    return [numbers.in_words(cell, digits) for cell in cells]


def _column_tables(
    headers: Sequence[str], columns: Sequence[Sequence[str]], left: Sequence[bool], room: int
) -> Iterator[Drawn]:
    """Columns that do not fit follow in further panels, each beginning with the first column; a
    cell wider than the screen goes on in the next line."""
    full = [widest([header, *cells]) for header, cells in zip(headers, columns, strict=True)]
    widths = [min(full[0], room // 2)]
    widths += [min(width, room - widths[0] - 2) for width in full[1:]]
    for panel in packed([width + 2 for width in widths[1:]], room - widths[0]):
        own = [0, *(i + 1 for i in panel)]
        cells = _folded([columns[i] for i in own], [widths[i] for i in own])
        yield side_by_side(
            [
                Strip(folded(headers[i], widths[i]), lines, left[i])
                for i, lines in zip(own, cells, strict=True)
            ]
        )


def _folded(columns: Sequence[Sequence[str]], widths: Sequence[int]) -> list[list[str]]:
    """The same columns, a row taking as many lines as its tallest cell needs at these widths."""
    lines: list[list[str]] = [[] for _ in columns]
    for row in zip(*columns, strict=True):
        cells = [folded(text, width) for text, width in zip(row, widths, strict=True)]
        for column, cell in zip(lines, cells, strict=True):
            column.extend(cell + [""] * (max(map(len, cells)) - len(cell)))
    return lines

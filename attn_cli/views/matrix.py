"""Matrices and columns as Rich tables. A matrix is elided in the middle, or split into panels, so
that it fits; columns are split, and nothing of them is left out for want of width."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from rich import box
from rich.cells import cell_len, chop_cells
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from attn_cli.views import numbers
from attn_cli.views.items import Column, Columns, Matrix
from attn_cli.views.look import Look
from attn_cli.words import note, sentence

INDENT = 4
FINE = 2
_BAR = 16
_MOST_ROWS = 12
_GAP, _RULE = -1, -2
_STYLES = {
    1: ("#4a6fa5", "#a5564a"),
    2: ("#5b9bff", "#ff7b6b"),
    3: ("bold #8fbfff", "bold #ffa08f"),
}


def pad(text: str, width: int) -> str:
    """`text` filled with spaces to `width` columns of the screen; CJK takes two."""
    return text + " " * (width - cell_len(text))


def widest(texts: Iterable[str]) -> int:
    """The columns of the widest text."""
    return max((cell_len(text) for text in texts), default=0)


def draw_matrix(item: Matrix, look: Look) -> Iterator[RenderableType]:
    """The tables under a line with name, shape and which axis is which."""
    if look.columns_are_queries and not (item.axes or item.summed):
        turned = {"values": item.values.T, "rows": item.columns, "columns": item.rows}
        item = item._replace(**turned, axes=note("axes.rows_keys"))
    text = Text(f"\n    {item.name}", "dim" if item.summed else "bold")
    if not item.summed:
        shape = " × ".join(map(str, item.values.shape))
        text.append(f"   {shape}   {item.axes or note('axes.rows_queries')}", "not bold dim")
    if item.remark:
        text.append(f"   {item.remark}", "not bold yellow")
    yield text
    tables = list(_matrix_tables(item, look))
    yield from (Padding(table, (0, 0, 0, INDENT)) for table, _ in tables)
    if item.elided and any(elided for _, elided in tables):
        yield Padding(Text(str(item.elided)), (0, 1, 0, INDENT))


def _matrix_tables(item: Matrix, look: Look) -> Iterator[tuple[Table, bool]]:
    """One table, or with `look.full` as many panels as the width needs; whether it has gaps."""
    values, rows, columns = item.values, list(map(str, item.rows)), list(map(str, item.columns))
    kept_rows = _middle_out(len(rows), len(rows) if look.full else _MOST_ROWS)
    real = [i for i in kept_rows if i != _GAP]
    if item.summed:
        kept_rows.insert(-1, _RULE)
    texts = np.array(numbers.column(values[real], look.digits), dtype=object)
    texts = texts.reshape(len(real), len(columns))
    gap_label = _more(len(rows) - len(real))
    shown = [gap_label if i == _GAP else "" if i == _RULE else rows[i] for i in kept_rows]
    label_width = max(cell_len(text) for text in shown)
    row_labels = [
        "─" * label_width if i == _RULE else text for i, text in zip(kept_rows, shown, strict=True)
    ]
    widths = [
        max([cell_len(name), *(len(text) for text in texts[:, j])])
        for j, name in enumerate(columns)
    ]
    strong = _strength(values[real]) * look.colour
    for chosen in _chosen(widths, look.width - INDENT - label_width - 2, look.full):
        table = _table()
        table.add_column("", no_wrap=True, width=label_width)
        cells = [Text("\n".join(row_labels), no_wrap=True)]
        for j in chosen:
            if j == _GAP:
                name = _more(len(columns) - len(chosen) + 1)
                table.add_column(Text(name), no_wrap=True, width=cell_len(name), justify="center")
                dots = ["─" * cell_len(name) if i == _RULE else "…" for i in kept_rows]
                cells.append(Text("\n".join(dots), no_wrap=True))
                continue
            table.add_column(Text(columns[j]), no_wrap=True, width=widths[j], justify="right")
            cells.append(_column(texts[:, j], strong[:, j], kept_rows, widths[j]))
        table.add_row(*cells)
        yield table, _GAP in kept_rows or _GAP in chosen


def _more(count: int) -> str:
    return sentence("page.more", count=count)


def _middle_out(count: int, most: int) -> list[int]:
    """Indices to show: all, or the first and last with a gap (−1) between them."""
    if count <= most:
        return list(range(count))
    head = (most + 1) // 2
    return [*range(head), _GAP, *range(count - most + head, count)]


def _chosen(widths: Sequence[int], room: int, full: bool) -> Iterator[list[int]]:
    """The columns of each panel; one panel with a gap in the middle unless `full`."""
    if full or sum(width + 2 for width in widths) <= room:
        yield from _panels(widths, room)
    else:
        most = max(1, (room - cell_len(_more(len(widths))) - 2) // (max(widths) + 2))
        yield _middle_out(len(widths), most)


def _strength(values: np.ndarray) -> np.ndarray:
    """0 (not finite) to 3, and negative for negative numbers: what the colour says twice over."""
    size = np.abs(np.where(np.isfinite(values), values, 0).astype(np.float64))
    top = size.max(initial=0.0) or 1.0
    level = 1 + (size > top / 4).astype(int) + (size > top * 2 / 3)
    return np.where(np.isfinite(values), np.where(np.signbit(values), -level, level), 0)


def _column(texts: Sequence[str], strength: np.ndarray, kept_rows: list[int], width: int) -> Text:
    lines = iter(zip(texts, strength, strict=True))
    cell = Text(no_wrap=True)
    marks = {_GAP: ("⋮", 0), _RULE: ("─" * width, 0)}
    for place, i in enumerate(kept_rows):
        text, level = marks[i] if i in marks else next(lines)
        style = _STYLES[abs(int(level))][int(level < 0)] if level else ""
        cell.append(text if place == 0 else "\n" + text, style)
    return cell


def _table() -> Table:
    """A table with a rule below its header and nothing else."""
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)


def _panels(widths: Sequence[int], room: int) -> Iterator[list[int]]:
    """As many columns as fit side by side, at least one; then the next."""
    panel: list[int] = []
    for i in range(len(widths)):
        if panel and sum(widths[j] + 2 for j in [*panel, i]) > room:
            yield panel
            panel = []
        panel.append(i)
    yield panel


def draw_columns(item: Columns, look: Look) -> Iterator[RenderableType]:
    """The table, and below it how many rows are left out."""
    yield Text("\n " + numbers.in_words(item.title, look.digits), "bold")
    count = len(item.columns[0].cells)
    shown = count if look.full or not item.most else min(count, _MOST_ROWS)
    rows = slice(count - shown, count) if item.most == "last" else slice(shown)
    headers = [numbers.in_words(column.header, look.digits) for column in item.columns]
    cells = [_texts(column, column.cells[rows], look.digits) for column in item.columns]
    left = [column.kind in ("left", "bar") for column in item.columns]
    yield from _column_tables(headers, cells, left, look.width - INDENT)
    if shown < count:
        more = sentence("mask.more", count=count - shown)
        below = Padding(Text(more), (0, 1, 0, INDENT))
        yield Text(f"    {more}", "dim") if item.most == "last" else below


def _texts(column: Column, cells: Sequence[object], digits: int) -> list[str]:
    if column.kind in ("number", "fine"):
        return numbers.column(cells, max(digits, FINE) if column.kind == "fine" else digits)
    if column.kind == "bar":
        return [numbers.bar(share, _BAR) for share in cells]
    return [numbers.in_words(cell, digits) for cell in cells]


def _column_tables(
    headers: Sequence[str], columns: Sequence[Sequence[str]], left: Sequence[bool], room: int
) -> Iterator[RenderableType]:
    """Columns that do not fit follow in further panels, each beginning with the first column; a
    cell wider than the screen goes on in the next line."""
    full = [widest([header, *cells]) for header, cells in zip(headers, columns, strict=True)]
    widths = [min(full[0], room // 2)]
    widths += [min(width, room - widths[0] - 2) for width in full[1:]]
    if widths != full:
        headers = ["\n".join(chop_cells(h, w)) for h, w in zip(headers, widths, strict=True)]
        columns = _folded(columns, widths)
    for panel in _panels(widths[1:], room - widths[0]):
        chosen = [0, *(i + 1 for i in panel)]
        table = _table()
        for i in chosen:
            justify = "left" if left[i] else "right"
            table.add_column(Text(headers[i]), no_wrap=True, justify=justify, width=widths[i])
        table.add_row(*(Text("\n".join(columns[i]), no_wrap=True) for i in chosen))
        yield Padding(table, (0, 0, 0, INDENT))


def _folded(columns: Sequence[Sequence[str]], widths: Sequence[int]) -> list[list[str]]:
    """The same columns, a row taking as many lines as its tallest cell needs at these widths."""
    lines: list[list[str]] = [[] for _ in columns]
    for row in zip(*columns, strict=True):
        cells = [chop_cells(text, width) for text, width in zip(row, widths, strict=True)]
        for column, cell in zip(lines, cells, strict=True):
            column.extend(cell + [""] * (max(1, *map(len, cells)) - len(cell)))
    return lines

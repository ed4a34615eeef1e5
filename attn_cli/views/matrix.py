"""A matrix as a Rich table: elided in the middle, or split into panels, so that it fits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from attn_cli.views import numbers

_EDGE_ROWS = 6
_GAP, _RULE = -1, -2
INDENT = 4
_STYLES = {
    1: ("#4a6fa5", "#a5564a"),
    2: ("#5b9bff", "#ff7b6b"),
    3: ("bold #8fbfff", "bold #ffa08f"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a page is drawn: columns of the screen, decimals, and what may be left out.

    `columns_are_queries` turns (query, key) matrices round; `colour` says whether styles are kept.
    """

    width: int = 80
    digits: int = 2
    full: bool = False
    columns_are_queries: bool = False
    colour: bool = False


def matrix(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    look: Look,
    *,
    last_is_sum: bool = False,
) -> Iterator[Table]:
    """Tables of a (row, column) matrix: one, or with `look.full` as many panels as the width needs.

    Labels are plain text, already made safe. `last_is_sum` rules off the last row.
    """
    kept_rows = _middle_out(len(rows), len(rows) if look.full else 2 * _EDGE_ROWS)
    real = [i for i in kept_rows if i != _GAP]
    if last_is_sum:
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
    strong = _strength(values[real])
    for chosen in _panels(widths, look.width - INDENT - label_width - 2, look.full):
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
        table.add_column("", no_wrap=True, width=label_width)
        cells = [Text("\n".join(row_labels), no_wrap=True)]
        for j in chosen:
            if j == _GAP:
                left_out = len(columns) - len(chosen) + 1
                name = _more(left_out)
                table.add_column(Text(name), no_wrap=True, width=len(name), justify="center")
                dots = ["─" * len(name) if i == _RULE else "…" for i in kept_rows]
                cells.append(Text("\n".join(dots), no_wrap=True))
                continue
            table.add_column(Text(columns[j]), no_wrap=True, width=widths[j], justify="right")
            cells.append(_column(texts[:, j], strong[:, j], kept_rows, widths[j], look.colour))
        table.add_row(*cells)
        yield table


def _more(count: int) -> str:
    return f"… {count} more"


def _middle_out(count: int, most: int) -> list[int]:
    """Indices to show: all, or the first and last with a gap (−1) between them."""
    if count <= most:
        return list(range(count))
    head = (most + 1) // 2
    return [*range(head), _GAP, *range(count - most + head, count)]


def _panels(widths: Sequence[int], room: int, full: bool) -> Iterator[list[int]]:
    """The columns of each panel; one panel with a gap in the middle unless `full`."""
    need = [width + 2 for width in widths]
    if sum(need) <= room:
        yield list(range(len(widths)))
    elif full:
        panel: list[int] = []
        for j, width in enumerate(need):
            if panel and sum(need[i] for i in panel) + width > room:
                yield panel
                panel = []
            panel.append(j)
        yield panel
    else:
        most = max(1, (room - len(_more(len(widths))) - 2) // max(need))
        yield _middle_out(len(widths), most)


def _strength(values: np.ndarray) -> np.ndarray:
    """0 (not finite) to 3, and negative for negative numbers: what the colour says twice over."""
    size = np.abs(np.where(np.isfinite(values), values, 0).astype(np.float64))
    top = size.max(initial=0.0) or 1.0
    level = 1 + (size > top / 4).astype(int) + (size > top * 2 / 3)
    return np.where(np.isfinite(values), np.where(np.signbit(values), -level, level), 0)


def _column(
    texts: Sequence[str],
    strength: Sequence[int],
    kept_rows: Sequence[int],
    width: int,
    colour: bool,
) -> Text:
    lines = iter(zip(texts, strength, strict=True))
    cell = Text(no_wrap=True)
    marks = {_GAP: ("⋮", 0), _RULE: ("─" * width, 0)}
    for place, i in enumerate(kept_rows):
        text, level = marks[i] if i in marks else next(lines)
        style = _STYLES[abs(int(level))][int(level < 0)] if colour and level else ""
        cell.append(text if place == 0 else "\n" + text, style)
    return cell

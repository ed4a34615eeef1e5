"""Weights as shaded grids, a mask as a picture; a training run as progress, chart and gauges."""

from collections.abc import Iterator

import numpy as np
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from attn_cli.views import numbers
from attn_cli.views.items import Chart, Gauges, Grids, Picture, Progress, Rankings
from attn_cli.views.look import Look
from attn_cli.views.strips import INDENT, pad, widest
from attn_cli.words import sentence

_CHART_ROWS = 5
_BLOCKS = " ▁▂▃▄▅▆▇█"
_NARROWEST, _WIDEST = 7, 13
_GAP = 2
_LABEL = 9
_NUMBER = 5
_MOST_CELLS = 24


def draw_grids(item: Grids, look: Look) -> Iterator[RenderableType]:
    """As many heads side by side as the width holds. Where not even one fits, the last tokens are
    shown; with `look.full` all, in panels of columns."""
    title = "heads.columns" if look.columns_are_queries else "heads.grids"
    yield Text("\n " + sentence(title), "bold")
    names, margin = item.names, widest(item.names)
    fitting = max(1, (look.width - margin - 7) // 2)
    start = 0 if look.full else max(0, len(names) - min(_MOST_CELLS, fitting))
    weights = item.weights[:, start:, start:]
    if look.columns_are_queries:
        weights = weights.swapaxes(1, 2)
    labels = [pad(name, margin) for name in names[start:]]
    lines: list[str] = []
    for first in range(0, len(labels), fitting):
        shown = weights[:, :, first : first + fitting]
        part = f" · {first}–{first + shown.shape[2] - 1}" if len(labels) > fitting else ""
        titles = [sentence("column.head", head=head) + part for head in item.heads]
        lines += _panel(titles, shown, labels, look.width - margin)
    if start:
        lines.append("    " + sentence("heads.last", shown=len(labels), count=len(names)))
    yield Text("\n".join(lines).rstrip("\n"), no_wrap=True)


def _panel(titles: list[str], weights: np.ndarray, labels: list[str], room: int) -> Iterator[str]:
    """The grids under their titles, in as many rows of grids as the room asks for."""
    cell = max(2 * weights.shape[2] + 3, widest(titles) + 2)
    across = max(1, (room - 4) // cell)
    for first in range(0, len(titles), across):
        chosen = range(first, min(first + across, len(titles)))
        yield f"    {pad('', widest(labels))}  {''.join(pad(titles[h], cell) for h in chosen)}"
        for i, name in enumerate(labels):
            rows = (pad("".join(numbers.shade(w) * 2 for w in weights[h, i]), cell) for h in chosen)
            yield f"    {name}  {''.join(rows)}".rstrip()
        yield ""


def draw_picture(item: Picture, look: Look) -> Iterator[RenderableType]:
    """A mark for each cell, under the meaning of the marks."""
    yield Text("\n " + sentence("mask.picture"), "bold")
    marks = np.where(item.after, "●", "·").astype(object)
    marks[item.before & ~item.after] = "−"
    marks[item.after & ~item.before] = "+"
    if look.columns_are_queries:
        marks = marks.T
    names, margin = item.names, widest(item.names)
    fitting = max(1, (look.width - margin - 6) // 2)
    most = len(names) if look.full else min(len(names), fitting)
    axes = "axes.rows_keys" if look.columns_are_queries else "axes.rows_queries"
    lines = [f"    {sentence(axes)}"]
    for first in range(0, most, fitting):
        shown = slice(first, min(first + fitting, most))
        lines += [f"    {pad(names[i], margin)}  {' '.join(marks[i, shown])}" for i in range(most)]
    if most < len(names):
        lines.append("    " + sentence("mask.more", count=len(names) - most))
    yield Text("\n".join(lines), no_wrap=True)


def draw_progress(item: Progress, look: Look) -> Iterator[RenderableType]:
    """` step  250 / 2500  ██▌        80,000 tokens/s   0:56 left`, its parts never moving."""
    step = str(item.step).rjust(len(str(item.steps)))
    counted = f" {sentence('training.step', step=step, steps=item.steps)}  "
    left = numbers.clock(item.seconds_left).rjust(7)
    tokens = numbers.count(item.tokens_per_second).rjust(9)
    speed = sentence("training.progress", tokens=tokens, left=left)
    room = max(0, min(40, look.width - len(counted) - len(speed) - 2))
    text = Text(counted, "bold", no_wrap=True, overflow="ellipsis", end="\n")
    text.append(numbers.bar(item.step / item.steps, room).ljust(room), "green")
    text.append(f"  {speed}", "not bold")
    yield text


def draw_chart(item: Chart, look: Look) -> Iterator[RenderableType]:
    """Columns of blocks above a floor of 0."""
    columns = max(8, min(item.steps, look.width - INDENT - 10))
    heights = chart_heights(item, columns)
    top = float(np.nanmax(heights, initial=0.0)) or 1.0
    eighths = np.nan_to_num(np.ceil(heights / top * _CHART_ROWS * 8 - 0.5)).astype(int)
    for row in reversed(range(_CHART_ROWS)):
        name = {_CHART_ROWS - 1: f"+{numbers.fixed(top)}", 0: f"+{numbers.fixed(0)}"}.get(row, "")
        line = Text(f"{'':{INDENT}}{name:>6} │", "dim", no_wrap=True, overflow="crop")
        line.append("".join(_BLOCKS[min(8, max(0, n - 8 * row))] for n in eighths), "not dim cyan")
        yield line


def chart_heights(item: Chart, columns: int) -> np.ndarray:
    """(column,): the mean of the values, not below 0, over each column's steps; NaN where none.

    Columns share the steps of the whole run, so that the chart grows to the right.
    """
    place = (np.array(item.at) - 1) * columns // item.steps
    count = np.bincount(place, minlength=columns)
    total = np.bincount(place, item.values, minlength=columns)
    return np.where(count, np.maximum(total / np.maximum(count, 1), 0), np.nan)


def draw_gauges(item: Gauges, look: Look) -> Iterator[RenderableType]:
    """A row per layer, a column per head: the share as a number and as a bar."""
    heads = item.values.shape[1]
    room = look.width - INDENT - _LABEL
    fitting = room // (_NARROWEST + _GAP)
    # A column less where some heads are left out: their number stands there.
    shown = heads if heads <= fitting else max(1, fitting - 1)
    cell = min(_WIDEST, max(_NARROWEST, room // (shown + (shown < heads)) - _GAP))
    table = _grid(INDENT + _LABEL - _GAP, *[cell] * shown)
    more = [f"+{heads - shown}"] if shown < heads else []
    titles = [sentence("column.head", head=n) for n in range(shown)] + more
    table.add_row("", *(Text(title, "dim") for title in titles))
    for layer, row in enumerate(item.values):
        cells = [_gauge(float(v), cell, v == item.values.max()) for v in row[:shown]]
        where = sentence("page.layer", layer=layer)
        table.add_row(Text(f"{'':{INDENT}}{where}", "dim"), *cells)
    yield table


def _gauge(share: float, width: int, strongest: bool) -> Text:
    number = f"{numbers.fixed(share)} "
    text = Text(number, "bold" if strongest else "")
    text.append(numbers.bar(share, width - len(number)), "not bold yellow")
    return text


def draw_rankings(item: Rankings, look: Look) -> Iterator[RenderableType]:
    """Each list in a half of the width."""
    half = (look.width - INDENT) // len(item.lists)
    pair = (max(4, min(24, half - _NUMBER) - 2 * _GAP), _NUMBER)
    table = _grid(INDENT - _GAP, *pair * len(item.lists))
    table.add_row("", *(cell for h in item.headers for cell in (Text(str(h), "dim"), "")))
    for row in zip(*item.lists, strict=True):
        cells = ((Text(name), Text(numbers.fixed(n).rjust(_NUMBER))) for name, n in row)
        table.add_row("", *(cell for pair in cells for cell in pair))
    yield table


def _grid(*widths: int) -> Table:
    """A table without rules, of columns of these widths."""
    table = Table.grid(padding=(0, _GAP, 0, 0), pad_edge=False)
    for width in widths:
        table.add_column(width=width, no_wrap=True)
    return table

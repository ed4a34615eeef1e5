"""Weights as shaded grids, a mask as a picture; a training run as progress, chart and gauges."""

from collections.abc import Iterator, Sequence

import numpy as np
from rich.padding import Padding
from rich.text import Text

from attn_cli.views import numbers
from attn_cli.views.cells import SHADES, Marks, marked
from attn_cli.views.items import GRID, Chart, Gauges, Grids, Picture, Progress, Rankings, axes_of
from attn_cli.views.look import STYLES, Look
from attn_cli.views.strips import INDENT, Drawn, Strip, fitted, pad, side_by_side, widest
from attn_cli.views.width import cell_len
from attn_cli.words import sentence

_CHART_ROWS = 5
_BLOCKS = " ▁▂▃▄▅▆▇█"
_NARROWEST, _WIDEST = 7, 13
_GAP = 2
_NAME, _NUMBER = 20, 5


def draw_grids(item: Grids, look: Look, marks: Marks = SHADES) -> Iterator[Drawn]:
    """As many heads side by side as the width holds. Where not even one fits, the last tokens are
    shown; with `look.full` all, in panels of columns."""
    title = "heads.columns" if look.columns_are_queries else "heads.grids"
    yield Padding(Text(sentence(title), STYLES["strong"]), (1, 0, 0, 1))
    labels = fitted(_row_names(item, look), look.width // 2 - INDENT)
    margin, count = widest(labels), len(labels)
    fitting = max(1, (look.width - margin - 7) // 2)
    most = max(item.weights.shape) if look.full else min(GRID, fitting)
    last, start = np.s_[-most:, -most:], max(0, count - most)
    weights = item.weights[:, *last]
    hidden = item.hidden[last] if item.hidden.size else np.zeros(weights.shape[1:], bool)
    shades = marked(weights, hidden, marks)
    if look.columns_are_queries:
        shades = shades.swapaxes(1, 2)
    labels = [pad(name, margin) for name in labels[start:]]
    lines: list[str] = []
    columns = shades.shape[2]
    for first in range(0, columns, fitting):
        shown = shades[:, :, first : first + fitting]
        part = f" · {first}–{first + shown.shape[2] - 1}" if columns > fitting else ""
        titles = [title + part for title in item.called]
        lines += _panel(titles, shown, labels, look.width - margin)
    yield Text("\n".join(lines).rstrip("\n"))
    if start:
        more = Text(sentence("heads.last", shown=len(labels), count=count))
        yield Padding(more, (1, 0, 0, INDENT))


def _row_names(item: Grids | Picture, look: Look) -> Sequence[str]:
    """The names of the rows: queries, or keys under --layout columns."""
    return item.keys if look.columns_are_queries and item.keys else item.names


def _panel(titles: list[str], shades: np.ndarray, labels: list[str], room: int) -> Iterator[str]:
    """The grids under their titles, in as many rows of grids as the room asks for."""
    cell = max(2 * shades.shape[2] + 3, widest(titles) + 2)
    across = max(1, (room - INDENT) // cell)
    for first in range(0, len(titles), across):
        chosen = range(first, min(first + across, len(titles)))
        title = f"    {pad('', widest(labels))}  {''.join(pad(titles[h], cell) for h in chosen)}"
        yield title.rstrip()
        for i, name in enumerate(labels):
            rows = (pad("".join(shades[h, i]), cell) for h in chosen)
            yield f"    {name}  {''.join(rows)}".rstrip()
        yield ""


def draw_picture(item: Picture, look: Look) -> Iterator[Drawn]:
    """A mark for each cell, under the meaning of the marks."""
    yield Padding(Text(sentence("mask.picture"), STYLES["strong"]), (1, 0, 0, 1))
    marks = np.where(item.after, "●", "·").astype(object)
    marks[item.before & ~item.after] = "−"
    marks[item.after & ~item.before] = "+"
    if look.columns_are_queries:
        marks = marks.T
    labels = fitted(_row_names(item, look), look.width // 2 - INDENT)
    margin, (count, columns) = widest(labels), marks.shape
    fitting = max(1, (look.width - margin - 6) // 2)
    most, across = (n if look.full else min(n, fitting) for n in marks.shape)
    axes = axes_of(crosses=item.crosses, columns_are_queries=look.columns_are_queries)
    yield Padding(Text(str(axes)), (0, 0, 0, INDENT))
    for first in range(0, across, fitting):
        shown = slice(first, min(first + fitting, across))
        rows = (f"    {pad(labels[i], margin)}  {' '.join(marks[i, shown])}" for i in range(most))
        yield Text("\n".join(rows))
    left_out = max(count - most, columns - across)
    if left_out:
        yield Padding(Text(sentence("mask.more", count=left_out)), (0, 0, 0, INDENT))


def draw_progress(item: Progress, look: Look) -> Iterator[Drawn]:
    """` step  250 / 2500  ██▌        80,000 tokens/s   0:56 left`, its parts never moving."""
    step = str(item.step).rjust(len(str(item.steps)))
    counted = f" {sentence('training.step', step=step, steps=item.steps)}  "
    left = numbers.clock(item.seconds_left).rjust(7)
    tokens = numbers.count(item.tokens_per_second).rjust(9)
    speed = sentence("training.progress", tokens=tokens, left=left)
    room = max(0, min(40, look.width - cell_len(counted) - cell_len(speed) - 2))
    bar = numbers.bar(item.step / item.steps, room).ljust(room)
    text = Text.assemble((counted, STYLES["strong"]), (bar, STYLES["bar"]), f"  {speed}", end="\n")
    text.no_wrap, text.overflow = True, "ellipsis"
    yield text


def draw_chart(item: Chart, look: Look) -> Iterator[Drawn]:
    """Columns of blocks above a floor of 0."""
    columns = max(8, min(item.steps, look.width - INDENT - 10))
    heights = chart_heights(item, columns)
    top = float(np.nanmax(heights, initial=0.0)) or 1.0
    eighths = np.nan_to_num(np.ceil(heights / top * _CHART_ROWS * 8 - 0.5)).astype(int)
    for row in reversed(range(_CHART_ROWS)):
        name = {_CHART_ROWS - 1: f"+{numbers.fixed(top)}", 0: f"+{numbers.fixed(0)}"}.get(row, "")
        line = Text(f"{'':{INDENT}}{name:>6} │", no_wrap=True, overflow="crop")
        blocks = "".join(_BLOCKS[min(8, max(0, n - 8 * row))] for n in eighths)
        yield line.append(blocks, STYLES["bar"])


def chart_heights(item: Chart, columns: int) -> np.ndarray:
    """(column,): the mean of the values, not below 0, over each column's steps; NaN where none.

    Columns share the steps of the whole run, so that the chart grows to the right.
    """
    place = (np.array(item.at) - 1) * columns // item.steps
    count = np.bincount(place, minlength=columns)
    total = np.bincount(place, item.values, minlength=columns)
    return np.where(count, np.maximum(total / np.maximum(count, 1), 0), np.nan)


def draw_gauges(item: Gauges, look: Look) -> Iterator[Drawn]:
    """A row per layer, a column per head: the share as a number and as a bar."""
    layers = [sentence("page.layer", layer=layer) for layer in range(len(item.values))]
    heads, room = item.values.shape[1], look.width - INDENT - widest(layers) - _GAP
    fitting = room // (_NARROWEST + _GAP)
    # A column less where some heads are left out: their number stands there.
    shown = heads if heads <= fitting else max(1, fitting - 1)
    cell = min(_WIDEST, max(_NARROWEST, room // (shown + (shown < heads)) - _GAP))
    strips = [Strip([], ["", *layers], True)]
    for head in range(shown):
        title, shares = sentence("column.head", head=head), item.values[:, head].tolist()
        cells = [pad(title, cell), *(_gauge(share, cell) for share in shares)]
        styles = ["plain", *("strong" if v == item.values.max() else "bar" for v in shares)]
        strips.append(Strip([], cells, True, [STYLES[style] for style in styles]))
    if shown < heads:
        strips.append(Strip([], [f"+{heads - shown}", *[""] * len(layers)], True))
    yield side_by_side(strips)


def _gauge(share: float, width: int) -> str:
    number = f"{numbers.fixed(share)} "
    return number + numbers.bar(share, width - len(number))


def draw_rankings(item: Rankings, look: Look) -> Iterator[Drawn]:
    """The lists side by side, or below each other where their names would have no room."""
    across = look.width - INDENT
    half = min(_NAME, across // len(item.lists) - _NUMBER - 2 * _GAP)
    width = half if half >= _NARROWEST else min(_NAME, across - _NUMBER - _GAP)
    pairs = []
    for header, found in zip(item.headers, item.lists, strict=True):
        names = [str(header), *fitted([name for name, _ in found], width)]
        shares = [numbers.fixed(share).rjust(_NUMBER) for _, share in found]
        pairs.append((Strip([], [pad(n, width) for n in names], True), Strip([], ["", *shares])))
    if half >= _NARROWEST:
        pairs = [sum(pairs, ())]
    yield from map(side_by_side, pairs)

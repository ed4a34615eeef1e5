"""Lines, for a screen reader: a page as statements, one per line, without boxes, bars or pictures.

Of a matrix each row is told with its largest cells first, then what the rest comes to.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from rich.padding import Padding
from rich.text import Text

from attn_cli.records import Prompt
from attn_cli.views import charts, items, matrix, numbers, table
from attn_cli.views.items import GRID, Page, Words
from attn_cli.views.look import STYLES, Look
from attn_cli.views.strips import INDENT, Drawn
from attn_cli.views.text import label
from attn_cli.words import counted, few, sentence

# Cells of a row, and of a row of one of several heads, that are told before the rest.
_CELLS, _CELLS_OF_HEADS = 5, 3
_TOKENS, _NAMES, _STATEMENTS = 40, 8, 12


class _Rows(NamedTuple):
    """Rows of a matrix to tell: what stands before each name, and the names of rows and columns.
    `largest` is the largest of the numbers that are compared; `turned`: the columns are queries."""

    values: np.ndarray
    hidden: np.ndarray
    before: str
    rows: Sequence[str]
    columns: Sequence[str]
    numbered: bool
    largest: float
    turned: bool
    most: int


def draw(page: Page, look: Look) -> str:
    """The page as text."""
    return table.draw(page, look, KINDS)


def _line(key: str, **values: object) -> Padding:
    return Padding(Text(sentence(key, **values)), (0, 0, 0, INDENT))


def _title(key: str) -> Padding:
    return Padding(Text(sentence(key), STYLES["strong"]), (1, 0, 0, 1))


def _more(count: int) -> Padding:
    return _line("mask.more", count=count)


def _say(item: items.Say, look: Look) -> Iterator[Drawn]:
    """Nothing is said of colours: there are none."""
    return table.KINDS[items.Say](item, look._replace(colour=False))


def _heading(item: items.Heading, look: Look) -> Iterator[Drawn]:
    yield table.of_model(item)
    if not item.prompt:
        yield from table.source_of(item)
        return
    yield _tokens(item.prompt, look)
    if item.prompt.target:
        yield Text(f" {sentence('page.target')}")
        yield _tokens(item.prompt.target, look)


def _tokens(prompt: Prompt, look: Look) -> Text:
    count = len(prompt.tokens)
    shown = matrix.both_ends(count, count if look.full else _TOKENS)
    names = [
        matrix.left_out(-i) if i < 0 else f"{i} {label(prompt.tokens[i].text, 40)}" for i in shown
    ]
    words = counted(count, "page.tokens_one", "page.tokens_many")
    listed = sentence("list.comma").join(names)
    return Text(f" {sentence('lines.tokens', count=words, names=listed)}")


def _matrix(item: items.Matrix, look: Look) -> Iterator[Drawn]:
    item, turned = matrix.as_laid_out(item, look)
    yield matrix.titled(item, turned)
    if item.whole:
        yield from _every_cell(item, look, turned)
        return
    values = item.values.astype(np.float64)
    hidden = item.hidden if item.hidden.size else np.zeros(values.shape, bool)
    lines = matrix.both_ends(
        len(values), len(values) if look.full else matrix.MOST_ROWS, -1 if turned else item.marked
    )
    real = [line for line in lines if line >= 0]
    rows = _Rows(
        values[real], hidden[real], "", [str(item.rows[i]) for i in real],
        list(map(str, item.columns)), not isinstance(item.columns[-1], str),
        _largest(values[real], hidden[real]), turned, len(item.columns) if look.full else _CELLS,
    )  # fmt: skip
    at = 0
    for line in lines:
        if line < 0:
            yield _more(-line)
        else:
            yield from _row(rows, at, look)
            at += 1


def _every_cell(item: items.Matrix, look: Look, turned: bool) -> Iterator[Padding]:
    """A statement on each cell, row by row, also on those that are left blank."""
    texts = matrix.cell_texts(item.values, item.blanks, look.digits)
    arrow = "←" if turned else "→"
    for row, cells in zip(item.rows, texts, strict=True):
        for column, number in zip(item.columns, cells, strict=True):
            yield _line("lines.number", row=row, arrow=arrow, column=column, number=number)


def _largest(values: np.ndarray, hidden: np.ndarray) -> float:
    return float(np.abs(values[np.isfinite(values) & ~hidden]).max(initial=0.0))


def _row(told: _Rows, at: int, look: Look) -> Iterator[Padding]:
    """The statements on one row: cells by size, the others together, those that are masked."""
    values, row = told.values[at], told.before + told.rows[at]
    shown = np.flatnonzero(~told.hidden[at])
    # A key by its number, a dimension, which has no order, by its size; NaN is not left out.
    size = np.abs(values[shown]) if told.numbered else values[shown]
    order = shown[np.argsort(-np.where(np.isnan(size), np.inf, size), kind="stable")]
    first, rest = (
        (order, order[:0]) if len(order) <= told.most + 1 else np.split(order, [told.most])
    )

    def written(value: float) -> str:
        return numbers.in_words(numbers.Number(float(value), (told.largest,), 0), look.digits)

    key, arrow = "lines.number" if told.numbered else "lines.cell", "←" if told.turned else "→"
    for j in first:
        words = {"row": row, "arrow": arrow, "column": told.columns[j]}
        yield _line(key, **words, number=written(values[j]))
    if rest.size:
        count, low, high = len(rest), values[rest].min(), values[rest].max()
        if low < 0:
            words = {"low": written(low), "high": written(high)}
            yield _line("lines.between", row=row, count=count, **words)
        else:
            yield _line("lines.rest", row=row, count=count, number=written(values[rest].sum()))
    hidden = [told.columns[j] for j in np.flatnonzero(told.hidden[at])]
    if hidden:
        yield _line("lines.masked", row=row, names=few(hidden, _NAMES))


def _grids(item: items.Grids, look: Look) -> Iterator[Drawn]:
    yield _title("lines.weights")
    keys = item.keys or item.names
    hidden = item.hidden if item.hidden.size else np.zeros(item.weights.shape[1:], bool)
    weights, count = item.weights.astype(np.float64), len(item.names)
    shown = max(weights.shape) if look.full else GRID
    weights, hidden = weights[:, -shown:, -shown:], hidden[-shown:, -shown:]
    names, keys = item.names[-weights.shape[1] :], keys[-weights.shape[2] :]
    if look.columns_are_queries:
        weights, hidden, names, keys = weights.swapaxes(1, 2), hidden.T, keys, names
    for head, of_head in zip(item.heads, weights, strict=True):
        told = _Rows(
            of_head, hidden, f"{sentence('column.head', head=head)}: ", names, keys, False,
            _largest(of_head, hidden), look.columns_are_queries,
            len(keys) if look.full else _CELLS_OF_HEADS,
        )  # fmt: skip
        for at in range(len(names)):
            yield from _row(told, at, look)
    if shown < count:
        yield _line("heads.last", shown=shown, count=count)


def _picture(item: items.Picture, look: Look) -> Iterator[Drawn]:
    """What each query sees, and what has changed."""
    yield _title("lines.mask")
    keys, lines = item.keys or item.names, range(len(item.names))
    for at in lines if look.full else lines[: matrix.MOST_ROWS]:
        before, after = item.before[at], item.after[at]
        row = item.names[at]
        yield _line("lines.sees", row=row, seen=int(after.sum()), all=len(keys))
        for key, where in (("lines.hidden", before & ~after), ("lines.opened", after & ~before)):
            if where.any():
                names = [keys[j] for j in np.flatnonzero(where)]
                yield _line(key, row=row, names=few(names, _NAMES))
    if not look.full and len(lines) > matrix.MOST_ROWS:
        yield _more(len(lines) - matrix.MOST_ROWS)


def _shares(item: items.Shares, look: Look) -> Iterator[Drawn]:
    least = 2 if item.fine else 0
    for name, value in zip(item.names, item.values, strict=True):
        number = numbers.in_words(numbers.Number(value, item.values, least), look.digits)
        yield _line("lines.share", name=name, number=number)


def _columns(item: items.Columns, look: Look) -> Iterator[Drawn]:
    """A statement for each row: each cell behind the header of its column."""
    yield from matrix.title_of(item, look)
    rows, more = matrix.rows_of(item, look)
    rows = [row for row in rows if row >= 0]
    told = [column for column in item.columns if column.kind != "bar"]
    headers = [numbers.in_words(column.header, look.digits) for column in told]
    cells = [matrix.texts_of(column, rows, look.digits, 0) for column in told]
    comma = sentence("list.comma")
    for row in zip(*cells, strict=True):
        pairs = zip(headers, row, strict=True)
        yield Padding(
            Text(comma.join(f"{header} {cell}".strip() for header, cell in pairs if cell)),
            (0, 0, 0, INDENT),
        )
    yield from more


def _progress(item: items.Progress, look: Look) -> Iterator[Drawn]:
    step = sentence("training.step", step=item.step, steps=item.steps)
    left, tokens = numbers.clock(item.seconds_left), numbers.count(item.tokens_per_second)
    speed = sentence("training.progress", tokens=tokens, left=left)
    yield Text(f" {step}{sentence('list.comma')}{speed}")


def _chart(item: items.Chart, look: Look) -> Iterator[Drawn]:
    """The mean of each of a few stretches of steps."""
    count = min(item.steps, _STATEMENTS)
    for place, value in enumerate(charts.chart_heights(item, count).tolist()):
        if not np.isnan(value):
            # Steps s with (s − 1) · count // steps == place.
            first, last = (-(-n * item.steps // count) for n in (place, place + 1))
            yield _line("lines.steps", first=first + 1, last=last, number=numbers.fixed(value))


def _gauges(item: items.Gauges, look: Look) -> Iterator[Drawn]:
    for layer, shares in enumerate(item.values.tolist()):
        for head, share in enumerate(shares):
            words = {"layer": layer, "head": head, "number": numbers.fixed(share)}
            yield _line("lines.gauge", **words)


def _rankings(item: items.Rankings, look: Look) -> Iterator[Drawn]:
    for header, found in zip(item.headers, item.lists, strict=True):
        for name, share in found:
            words: dict[str, Words] = {"header": header, "name": name}
            yield _line("lines.ranked", **words, number=numbers.fixed(share))


KINDS = {
    **table.KINDS,
    items.Say: _say,
    items.Heading: _heading,
    items.Shares: _shares,
    items.Matrix: _matrix,
    items.Columns: _columns,
    items.Measured: lambda item, look: _columns(item.columns, look),
    items.Grids: _grids,
    items.Picture: _picture,
    items.Progress: _progress,
    items.Chart: _chart,
    items.Gauges: _gauges,
    items.Rankings: _rankings,
}

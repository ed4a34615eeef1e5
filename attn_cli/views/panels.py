"""Squares of weights as SVG: a rect for each cell, or an embedded PNG where these are too many."""

import struct
import zlib
from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from attn_cli.errors import ContentError, size
from attn_cli.views import numbers
from attn_cli.views.markup import element, text
from attn_cli.words import sentence

# Beyond so many cells of a page they have no rects and titles of their own; a picture of more
# bytes is refused.
MOST_RECTS, MOST_BYTES = 20_000, 16 << 20
SEES = 0.6  # the shade of a cell that is not hidden and has no number
_RUN = 28  # bytes of a run of cells in a path, about
INK, PAPER, TEXT, LINE = "#08306b", "#ffffff", "#1a1a1a", "#6b6b6b"
BLACK = "#000000"
HIDDEN, BROKEN = "url(#attn-hidden)", "url(#attn-nan)"
# What a mark stands for where cells are too small for it: a pattern of such marks.
CHANGED = {"−": "url(#attn-closed)", "+": "url(#attn-opened)"}
_LEGIBLE = 10  # pixels of a cell that has a mark of its own
# Hatched, so that what is hidden is told apart without colour.
PATTERNS = (
    element(
        "pattern",
        element("path", d="M-1,1L1,-1M0,5L5,0M4,6L6,4", stroke=LINE, stroke_width=0.8),
        id="attn-hidden", width=5, height=5, patternUnits="userSpaceOnUse",
    ),
    element(
        "pattern",
        element("rect", width=6, height=6, fill="#ffd9a8"),
        element("path", d="M0,0L6,6M0,6L6,0", stroke=TEXT),
        id="attn-nan", width=6, height=6, patternUnits="userSpaceOnUse",
    ),
    *(
        element(
            "pattern",
            element("rect", width=8, height=8, fill=PAPER),
            element("path", d=shape, stroke=color, stroke_width=1.5),
            id=f"attn-{name}", width=8, height=8, patternUnits="userSpaceOnUse",
        )
        for name, shape, color in (
            ("closed", "M1.5,4H6.5", "#8a1f11"), ("opened", "M1.5,4H6.5M4,1.5V6.5", "#0b4f2a")
        )
    ),
)  # fmt: skip


class Squares(NamedTuple):
    """Matrices (square, row, column) side by side, under a caption and a title each.

    Numbers are shares of 1; `hidden` has their shape. `flat`: what is not hidden has one shade and
    no number. `marks` (square, row, column) stand in cells. Rows are queries unless `turned`. The
    darkest shade is that of the number `most`.
    """

    caption: str
    titles: Sequence[str]
    values: np.ndarray
    hidden: np.ndarray
    rows: Sequence[str]
    columns: Sequence[str]
    turned: bool = False
    flat: bool = False
    marks: np.ndarray | None = None
    most: float = 1.0


class Cell(NamedTuple):
    """How large the cells are, in pixels; `told`: each has its number written in it."""

    width: int
    height: int
    told: bool = False


def check(cells: int, runs: int = 0) -> None:
    """Raises ContentError where so many cells, and runs of hidden ones, take too many bytes."""
    needed = cells * 4 // 3 + runs * _RUN  # as base64
    if cells > MOST_RECTS and needed > MOST_BYTES:
        sizes = {"size": size(needed), "most": size(MOST_BYTES)}
        raise ContentError(sentence("svg.too_large", **sizes), sentence("svg.fewer"))


def count(squares: Sequence[Squares]) -> int:
    """The cells of all squares."""
    return sum(one.values.size for one in squares)


def runs(squares: Sequence[Squares]) -> int:
    """About how many runs of hidden cells there are in the rows of all squares."""
    ends = (np.count_nonzero(one.hidden[..., 1:] != one.hidden[..., :-1]) for one in squares)
    return sum(map(int, ends)) + sum(one.hidden.shape[0] * one.hidden.shape[1] for one in squares)


def drawn(one: Squares, cell: Cell, digits: int, *, rects: bool) -> Iterator[str]:
    """Each square as a group at its own origin; its cells are `rects` with titles, or an image."""
    texts = _texts(one, digits) if rects else None
    for place, values in enumerate(one.values):
        hidden = one.hidden[place]
        high, wide = values.shape
        shape = {"width": wide * cell.width, "height": high * cell.height}
        parts = [element("title", text(one.titles[place]))]
        if texts is not None:
            parts += _rects(one, place, cell, texts[place])
        else:
            shades = values * SEES if one.flat else values / one.most
            parts.append(element("image", **shape, **_SHARP, href=_png(shades, hidden)))
            broken = ~np.isfinite(values) & ~hidden
            for where, fill in ((hidden, HIDDEN), (broken, BROKEN)):
                if where.any():
                    parts.append(element("path", fill=fill, d=_runs(where, cell)))
        if patterned(cell, rects=rects):
            parts += _changes(one, place, cell)
        parts.append(element("rect", class_="frame", **shape))
        yield element("g", *parts, fill=INK)


_SHARP = {"preserveAspectRatio": "none", "style": "image-rendering:pixelated"}


def patterned(cell: Cell, *, rects: bool) -> bool:
    """Whether a mark is a pattern, since the cell is too small for it or has no rect."""
    return not rects or cell.height < _LEGIBLE


def _changes(one: Squares, place: int, cell: Cell) -> Iterator[str]:
    """A pattern over each run of cells with the same mark."""
    for mark, fill in CHANGED.items():
        where = one.marks[place] == mark if one.marks is not None else np.zeros((0, 0), bool)
        if where.any():
            yield element("path", fill=fill, d=_runs(where, cell), pointer_events="none")


def _texts(one: Squares, digits: int) -> np.ndarray:
    """The numbers of all cells, with the same decimals."""
    told = np.array(numbers.column(one.values, digits), object)
    return told.reshape(one.values.shape)


def _rects(one: Squares, place: int, cell: Cell, texts: np.ndarray) -> Iterator[str]:
    values, hidden = one.values[place], one.hidden[place]
    rows, columns = [text(name) for name in one.rows], [text(name) for name in one.columns]
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            value, there = float(values[i, j]), not hidden[i, j]
            shade = _shade(value / one.most) if not one.flat else SEES * there
            pair = {"row": column, "column": row} if one.turned else {"row": row, "column": column}
            said = {**pair, "number": texts[i, j]}
            where = {"x": j * cell.width, "y": i * cell.height}
            where |= {"width": cell.width, "height": cell.height}
            broken = there and not np.isfinite(value)
            fill = {"fill": BROKEN} if broken else {"fill_opacity": f"{shade:.4g}"}
            title = _title(said, there=there, flat=one.flat, empty=not value > 0)
            if not there:  # what a hidden cell has all the same shows through
                if shade:
                    yield element("rect", **where, **fill)
                fill = {"fill": HIDDEN}
            yield element("rect", element("title", title), **where, **fill)
            mark = one.marks[place, i, j] if one.marks is not None else ""
            if cell.told and there and not one.flat:
                mark = texts[i, j]
            if mark and not patterned(cell, rects=True):
                yield _mark(mark, j, i, cell, 0.0 if broken or not there else shade)


def _title(said: dict[str, str], *, there: bool, flat: bool, empty: bool) -> str:
    if there:
        return sentence("svg.sees" if flat else "svg.cell", **said)
    if flat or empty:
        return sentence("svg.unseen", **said)
    return sentence("svg.hidden", cell=sentence("svg.cell", **said))


def _shade(value: float) -> float:
    """How dark a share of 1 is; nothing for what is no number."""
    return 0.0 if np.isnan(value) else min(1.0, max(0.0, value))


def _mark(words: str, column: int, row: int, cell: Cell, shade: float) -> str:
    """Words in the middle of a cell, in whichever of black and white is easier to read there."""
    x, y = (column + 0.5) * cell.width, (row + 0.5) * cell.height + 4
    fill = PAPER if shade > _DARK else BLACK
    return element("text", text(words), x=x, y=y, text_anchor="middle", fill=fill)


# Above this shade of the ink white has the larger contrast.
_DARK = 0.655


def _runs(where_RC: np.ndarray, cell: Cell) -> str:
    """A path around each run of cells in a row."""
    edges = np.diff(np.pad(where_RC, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    (rows, starts), (_, ends) = np.nonzero(edges > 0), np.nonzero(edges < 0)
    high = cell.height
    return "".join(
        f"M{start * cell.width} {row * high}h{(end - start) * cell.width}v{high}"
        f"h-{(end - start) * cell.width}z"
        for row, start, end in zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True)
    )


def _png(values_RC: np.ndarray, hidden_RC: np.ndarray) -> str:
    """The shades as a PNG of 256 colours in a data URI."""
    shares = np.where(np.isnan(values_RC) | (hidden_RC & (values_RC <= 0)), 0, values_RC)
    levels = np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)
    ink, paper = (np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)]) for c in (INK, PAPER))
    share = np.linspace(0, 1, 256)[:, None]
    palette = np.rint(paper + (ink - paper) * share).astype(np.uint8)
    high, wide = levels.shape
    rows = np.pad(levels, ((0, 0), (1, 0)))  # each row begins with its filter: none
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", wide, high, 8, 3, 0, 0, 0)),
        (b"PLTE", palette.tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 6)),
        (b"IEND", b""),
    )
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return f"data:image/png;base64,{b64encode(png).decode()}"

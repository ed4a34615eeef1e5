"""A page as an SVG: its squares of weights as pictures, or the page as on a terminal's screen."""

from collections.abc import Iterator, Sequence
from math import ceil

import numpy as np

from attn_cli.views import numbers, panels, table
from attn_cli.views.formats import Drawing
from attn_cli.views.items import Grids, Heading, Matrix, Page, Picture, Say, axes_of
from attn_cli.views.look import Look
from attn_cli.views.markup import document, element, text
from attn_cli.views.matrix import FINE, as_laid_out, titled
from attn_cli.views.panels import INK, LINE, PAPER, TEXT, Cell, Squares
from attn_cli.views.width import cell_len
from attn_cli.words import sentence

_COLUMNS, _ADVANCE = 96, 0.6  # columns of a line of text; a column's width over its height
_FONT, _SMALL, _LEADING, _GAP = 13, 11, 18, 14  # pixels
_MARGIN, _ACROSS = 16, 1100
_LITTLE, _ABREAST = 120, 1920  # so wide squares may take so many pixels, for a layer in one line
_TOLD = 16  # rows and columns of a square alone whose cells have their numbers in them
_LOOKS = 200  # rows of which a picture's description says where they look
_ONE = 1 + 1e-5  # a share of 1, rounded
_ROLES = {"headline": "strong", "title": "strong", "block": "strong", "what-if": "what-if"}


def render(page: Page, look: Look) -> bytes:
    """The picture of a page that has nothing else to show; any other as on a screen, and all in a
    view that was asked for. Raises ContentError where the picture would be too large."""
    if look.view or not _is_picture(page):
        from attn_cli.views import screen

        return screen.render(page, look)
    return _Drawing(look).of(page)


def needed(drawing: Drawing) -> set[str]:
    """The arrays of a trace's picture. Raises ContentError where it would be too large."""
    cells = 0
    for block in drawing.blocks:
        queries, keys = drawing.shown[block.stack, block.kind]
        cells += len(drawing.heads[block.stack]) * len(queries) * len(keys)
    panels.check(cells)
    return {"visible", "weights", "sink_share"}


def _is_picture(page: Page) -> bool:
    shown = [item for item in page if not isinstance(item, Say | Heading)]
    return bool(shown) and all(
        isinstance(item, Grids | Picture)
        or (
            isinstance(item, Matrix)
            and not ((item.values < 0) | (item.values > _ONE * item.most)).any()
        )
        for item in shown
    )


class _Drawing:
    """The elements of a picture from the top down, and what its description says."""

    def __init__(self, look: Look) -> None:
        self.look = look._replace(view="table", width=_COLUMNS, colour=False)
        self.digits = max(look.digits, FINE)
        self.parts: list[str] = []
        self.said: list[str] = []
        self.wide, self.y = _COLUMNS * _FONT * _ADVANCE, float(_MARGIN)

    def of(self, page: Page) -> bytes:
        """The whole picture."""
        found = [_squares(item, self.look) for item in page if not isinstance(item, Say | Heading)]
        cells = panels.count(found)
        rects = cells <= panels.MOST_RECTS
        if not rects:
            panels.check(cells, panels.runs(found))
        squares, before = iter(found), None
        for item in page:
            if isinstance(item, Say | Heading):
                self._say(item)
                before = None
            else:
                one = next(squares)
                self._draw(one, before, rects=rects)
                before = one
        self._legend(found, [one for one in found if self._patterned(one, rects=rects)])
        self.said += _looks(found, self.digits)
        return self._whole()

    def _say(self, item: Say | Heading) -> None:
        style = _ROLES.get(item.role, "") if isinstance(item, Say) else "strong"
        for drawn in table.renderables([item], self.look):
            for lines in table.laid_out(drawn, self.look.width):
                for line in lines.plain.split("\n"):
                    self._line(line.removeprefix(" ").rstrip(), style)
                    style = "" if isinstance(item, Heading) else style

    def _line(self, words: str, style: str = "") -> None:
        if words.strip():
            self.said.append(words.strip())
            self.wide = max(self.wide, cell_len(words) * _FONT * _ADVANCE)
            self._write(words, _MARGIN, class_=style)
        self.y += _LEADING if words.strip() else _LEADING / 2

    def _write(self, words: str, x: float, y: float = _FONT, **how: object) -> None:
        """Words at a place of this line."""
        self.parts.append(element("text", text(words), x=x, y=self.y + y, **how))

    def _draw(self, one: Squares, before: Squares | None, *, rects: bool) -> None:
        """The squares, as many in a line as there is room for, and the names of rows and columns;
        those of the columns only where they are not those of the squares `before`."""
        cell = _cell(one, self.digits)
        anew = before is None or before.caption != one.caption
        if anew:
            self.y += _LEADING / 2
            self._line(one.caption)
        named = anew or list(before.columns) != list(one.columns)
        margin = _MARGIN + _widest(one.rows) + 6
        title = _FONT * _ADVANCE * max(map(cell_len, one.titles), default=0)
        step = max(len(one.columns) * cell.width, title) + _GAP
        across = max(1, int(((_ABREAST if step <= _LITTLE else _ACROSS) + _GAP) // step))
        across = ceil(len(one.values) / ceil(len(one.values) / across))  # as many in each line
        drawn = list(panels.drawn(one, cell, self.digits, rects=rects))
        for first in range(0, len(drawn), across):
            some = range(first, min(first + across, len(drawn)))
            places = [(i, margin + (i - first) * step) for i in some]
            if one.titles[0]:
                self.y += 4
                for i, x in places:
                    self._write(one.titles[i], x, class_="strong")
                self.y += _LEADING + 2
            if named and first == 0:
                self._columns(one.columns, cell, [x for _, x in places])
            self._rows(one.rows, cell, margin - 6)
            self.parts += [
                element("g", drawn[i], transform=f"translate({x:g},{self.y:g})") for i, x in places
            ]
            self.y += len(one.rows) * cell.height + _GAP
            self.wide = max(self.wide, places[-1][1] + step - _GAP - _MARGIN)

    def _rows(self, names: Sequence[str], cell: Cell, right: float) -> None:
        for i in range(0, len(names), ceil(_SMALL / cell.height)):
            y = (i + 0.5) * cell.height + 4
            self._write(names[i], right, y, class_="name", text_anchor="end")

    def _columns(self, names: Sequence[str], cell: Cell, starts: Sequence[float]) -> None:
        """The names above the columns, upright where they are wider than these."""
        flat = _widest(names) <= cell.width - 2
        self.y += _SMALL + 4 if flat else _widest(names) + 6
        for start in starts:
            for i in range(0, len(names), 1 if flat else ceil(_SMALL / cell.width)):
                x = start + (i + 0.5) * cell.width
                if flat:
                    self._write(names[i], x, -4, class_="name", text_anchor="middle")
                    continue
                turned = f"translate({x + 4:g},{self.y - 4:g})rotate(-90)"
                self.parts.append(element("text", text(names[i]), class_="name", transform=turned))

    def _patterned(self, one: Squares, *, rects: bool) -> bool:
        """Whether marks are patterns there."""
        return one.marks is not None and panels.patterned(_cell(one, self.digits), rects=rects)

    def _legend(self, found: Sequence[Squares], patterned: Sequence[Squares]) -> None:
        """What the shades and the hatches mean, as far as there are any."""
        keys: list[tuple[dict[str, object], str]] = []
        if not all(one.flat for one in found):
            most = max(one.most for one in found)
            keys += [({"fill_opacity": n}, f"{n * most:.3g}") for n in (0, 0.25, 0.5, 0.75, 1)]
        if any(one.flat for one in found):
            keys.append(({"fill_opacity": panels.SEES}, sentence("svg.key_sees")))
        if any(one.hidden.any() for one in found):
            keys.append(({"fill": panels.HIDDEN}, sentence("svg.key_hidden")))
        for mark, fill in panels.CHANGED.items():
            if any((one.marks == mark).any() for one in patterned):
                told = "svg.key_closed" if mark == "−" else "svg.key_opened"
                keys.append(({"fill": fill}, sentence(told)))
        if any((~np.isfinite(one.values) & ~one.hidden).any() for one in found):
            keys.append(({"fill": panels.BROKEN}, sentence("svg.key_nan")))
        words = sentence("svg.scale")
        self._write(words, _MARGIN)
        x = _MARGIN + (cell_len(words) + 1) * _FONT * _ADVANCE
        for fill, said in keys:
            box = {"x": x, "y": self.y, "width": 24, "height": 16}
            self.parts += [element("rect", **box, **fill), element("rect", class_="frame", **box)]
            self._write(said, x + 29)
            x += 29 + (cell_len(said) + 2) * _FONT * _ADVANCE
        self.y += _LEADING
        self.wide = max(self.wide, x - _MARGIN)

    def _whole(self) -> bytes:
        wide, high = ceil(self.wide + 2 * _MARGIN), ceil(self.y + _MARGIN)
        title, *rest = self.said
        return document(
            wide, high, title, " ".join(rest or [title]), _STYLE,
            element("defs", *panels.PATTERNS),
            element("rect", width=wide, height=high, fill=PAPER),
            element("g", *(f"\n{part}" for part in self.parts), fill=INK),
        )  # fmt: skip


_STYLE = (
    f"text{{font-family:ui-monospace,monospace;font-size:{_FONT}px;white-space:pre}}"
    f"text:not([fill]){{fill:{TEXT}}}.name,g>g>g>text{{font-size:{_SMALL}px}}"
    f".strong{{font-weight:bold}}text.what-if{{fill:#a1006b}}"
    f".frame{{fill:none;stroke:{LINE}}}"
)


def _squares(item: Grids | Matrix | Picture, look: Look) -> Squares:
    """The squares of an item as `look` lays them out."""
    if isinstance(item, Grids):
        return _of_grids(item, look)
    if isinstance(item, Picture):
        return _of_mask(item, look)
    item, turned = as_laid_out(item, look)
    caption, values = titled(item, turned).renderable.plain, item.values[None]
    hidden = item.hidden[None] if item.hidden.size else np.zeros(values.shape, bool)
    rows, columns = list(map(str, item.rows)), list(map(str, item.columns))
    return Squares(caption, ("",), values, hidden, rows, columns, turned, most=item.most)


def _of_grids(item: Grids, look: Look) -> Squares:
    turned = look.columns_are_queries
    axes = axes_of(crosses=item.crosses, columns_are_queries=turned)
    values, rows, columns = item.weights, list(item.names), list(item.keys or item.names)
    hidden = item.hidden if item.hidden.size else np.zeros(values.shape[1:], bool)
    hidden = np.broadcast_to(hidden, values.shape)
    if turned:
        values, hidden, rows, columns = values.swapaxes(1, 2), hidden.swapaxes(1, 2), columns, rows
    caption = sentence("svg.weights", axes=axes)
    return Squares(caption, item.called, values, hidden, rows, columns, turned)


def _of_mask(item: Picture, look: Look) -> Squares:
    turned = look.columns_are_queries
    axes = axes_of(crosses=item.crosses, columns_are_queries=turned)
    sees = np.stack([item.before, item.after])
    rows, columns = list(item.names), list(item.keys or item.names)
    marks = np.full(sees.shape, "", object)
    marked = (item.before != item.after).any()
    if marked:
        marks[1, item.before & ~item.after] = "−"
        marks[1, item.after & ~item.before] = "+"
    if turned:
        sees, marks, rows, columns = sees.swapaxes(1, 2), marks.swapaxes(1, 2), columns, rows
    titles = [sentence("svg.before"), sentence("svg.after")]
    caption = sentence("svg.mask_marked" if marked else "svg.mask", axes=axes)
    values = sees.astype(np.float32)
    return Squares(caption, titles, values, ~sees, rows, columns, turned, flat=True, marks=marks)


def _cell(one: Squares, digits: int) -> Cell:
    """The fewer squares and cells, the larger these are."""
    count, most = len(one.values), max(len(one.rows), len(one.columns))
    if count == 1 and most <= _TOLD:
        numerals = _widest(numbers.column(one.values, digits))
        return Cell(max(48, ceil(numerals) + 10), 26, told=True)
    room = 640 if count == 1 else min(320, max(96, _ACROSS // count - _GAP))
    side = max(1, min(24, room // most))
    return Cell(side, side)


def _widest(names: Sequence[str]) -> float:
    return _SMALL * _ADVANCE * max(map(cell_len, names), default=0)


def _looks(found: Sequence[Squares], digits: int) -> Iterator[str]:
    """Where each query looks most, for who cannot see the picture; of a large one nothing."""
    shown = [one for one in found if not one.flat]
    if sum(one.values[..., 0].size for one in shown) > _LOOKS:
        return
    for one in shown:
        values, hidden = one.values, one.hidden
        queries, keys = one.rows, one.columns
        if one.turned:
            values, hidden = values.swapaxes(1, 2), hidden.swapaxes(1, 2)
            queries, keys = keys, queries
        known = np.where(hidden | np.isnan(values), -1.0, values)
        best, texts = known.argmax(axis=-1), numbers.column(known.max(axis=-1), digits)
        texts = np.reshape(np.array(texts, object), best.shape)
        for title, at_Q, most_Q, known_Q in zip(
            one.titles, best, texts, known.max(axis=-1), strict=True
        ):
            rows = [
                sentence("svg.cell", row=query, column=keys[at], number=number)
                for query, at, number, most in zip(queries, at_Q, most_Q, known_Q, strict=True)
                if most >= 0
            ]
            head = title or one.caption.partition("   ")[0]
            yield sentence("svg.looks", head=head, rows=sentence("list.comma").join(rows))

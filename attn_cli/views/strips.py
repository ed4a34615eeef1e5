"""Strips of text side by side, and names made to fit: what every table is drawn with."""

from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple

from rich.padding import Padding
from rich.text import Span, Text

from attn_cli.views import folding
from attn_cli.views.look import STYLES
from attn_cli.views.width import cell_len, chop_cells

Drawn = Text | Padding  # around a text
INDENT = 4


class Strip(NamedTuple):
    """A column: its lines above the rule and below it, each of these with its style if any."""

    header: Sequence[str]
    cells: Sequence[str]
    left: bool = False
    styles: Sequence[str] = ()


def pad(text: str, width: int) -> str:
    """`text` filled with spaces to `width` columns of the screen; CJK takes two."""
    return text + " " * (width - cell_len(text))


def widest(texts: Iterable[str]) -> int:
    """The columns of the widest text."""
    return max(map(cell_len, texts), default=0)


def folded(text: str, width: int) -> list[str]:
    """The lines of `text`, none wider than `width` columns; they end between words if there are."""
    room = max(1, width)
    prose = " " in text.strip() or folding.is_wide(text)
    if prose:
        return [line.rstrip() for line in folding.lines(text, room)]
    return chop_cells(text, room) or [""]


def packed(widths: Iterable[int], room: int) -> list[list[int]]:
    """The places of these widths line by line: as many as fit, at least one; then the next."""
    lines: list[list[int]] = [[]]
    left = room
    for place, width in enumerate(widths):
        if lines[-1] and width > left:
            lines.append([])
            left = room
        lines[-1].append(place)
        left -= width
    return lines


def fitted(names: Sequence[str], width: int) -> list[str]:
    """The names with `…` in the middle of each that is wider than `width`; what then looks like
    another has its place behind it."""
    cut = [_cut(name, width) for name in names]
    meant: dict[str, set[str]] = {}
    for name, text in zip(names, cut, strict=True):
        meant.setdefault(text, set()).add(name)
    return [
        text if len(meant[text]) == 1 else f"{_cut(names[i], width - len(f'·{i}'))}·{i}"
        for i, text in enumerate(cut)
    ]


def _cut(name: str, width: int) -> str:
    if cell_len(name) <= width:
        return name
    head = chop_cells(name, max(1, width // 2))[0]
    room = width - 1 - cell_len(head)
    tails = (name[i:] for i in range(len(name)) if cell_len(name[i]))
    return f"{head}…{next((tail for tail in tails if cell_len(tail) <= room), '')}"


def side_by_side(
    strips: Sequence[Strip],
    *,
    marked: Container[int] = (),
    ruled: bool = True,
    summed: bool = False,
) -> Text:
    """The strips under their headers and, if `ruled`, a rule; `▸` before the lines `marked`; with
    `summed` there is a rule above the last line."""
    widths = [widest([*strip.header, *strip.cells]) for strip in strips]
    above, below = max(len(strip.header) for strip in strips), len(strips[0].cells)
    lines, spans, length = [], [], 0
    for i in range(-above, below):
        if summed and i == below - 1:
            lines.append(" " * INDENT + "  ".join("─" * width for width in widths))
            length += len(lines[-1]) + 1
        line = "  ▸ " if i in marked else " " * INDENT
        for strip, width in zip(strips, widths, strict=True):
            cells, at = (strip.header, i + len(strip.header)) if i < 0 else (strip.cells, i)
            text = cells[at] if at >= 0 else ""
            space = " " * (width - cell_len(text))
            style = STYLES["strong"] if i < 0 else strip.styles[i] if strip.styles else ""
            line += text + space if strip.left else space + text
            if style:
                end = length + len(line)
                spans.append(Span(end - len(text) - len(space), end, style))
            line += "  "
        lines.append(line[:-2])
        length += len(lines[-1]) + 1
        if i == -1 and ruled:
            lines.append(" " * INDENT + "─" * (sum(widths) + 2 * len(widths) - 2))
            length += len(lines[-1]) + 1
    return Text("\n".join(lines), spans=spans)

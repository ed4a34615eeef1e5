"""A page as the picture of a terminal's screen, in SVG."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from attn_cli.views.drawers import drawer
from attn_cli.views.items import Page
from attn_cli.views.look import Look
from attn_cli.views.markup import document, element, text

_ADVANCE, _LEADING, _FONT, _MARGIN = 8.4, 18, 14, 12  # pixels
_PAPER, _INK = "#000000", "#e6e6e6"
_TERMINAL = {"TERM": "xterm-256color"}
_STYLE = (
    f"text{{font-family:ui-monospace,monospace;font-size:{_FONT}px;fill:{_INK};"
    "white-space:pre}"
    ".b{font-weight:bold}.i{font-style:italic}"
)
# A part of fewer columns keeps its own length; a longer one is set in that of the screen's columns,
# whatever the font.
_SHORT = 8


class _Part(NamedTuple):
    """Words of one style in a line, from a column of the screen on."""

    words: str
    column: int
    ink: str = ""
    paper: str = ""
    kinds: tuple[str, ...] = ()


def render(page: Page, look: Look) -> bytes:
    """The whole page in the look's view and width, on black, with the colours of a terminal; its
    description is the page as lines."""
    look = look._replace(colour=True, terminal=_TERMINAL)
    lines = drawer(look).draw(page, look).strip("\n").split("\n")
    told = look._replace(view="lines", colour=False)
    title, *rest = (line.strip() for line in drawer(told).draw(page, told).strip().split("\n"))
    said = " ".join(filter(None, rest or [title]))
    wide, high = round(look.width * _ADVANCE + 2 * _MARGIN), len(lines) * _LEADING + 2 * _MARGIN
    parts = [list(_parts(line)) for line in lines]
    inks = sorted({part.ink for line in parts for part in line} - {""})
    style = _STYLE + "".join(f".c{i}{{fill:{ink}}}" for i, ink in enumerate(inks))
    drawn = "\n".join(_line(line, i, inks) for i, line in enumerate(parts) if line)
    paper = element("rect", width=wide, height=high, rx=6, fill=_PAPER)
    return document(wide, high, title, said, style, paper, f"\n{drawn}\n")


def _parts(line: str) -> Iterator[_Part]:
    """The parts of a line that was written for a terminal."""
    # It is slow to import, and other pages need none of it.
    from rich.ansi import AnsiDecoder
    from rich.style import Style

    from attn_cli.views.width import cell_len

    if not line:
        return
    (read,) = AnsiDecoder().decode(line)
    ends = sorted({0, len(read), *(at for span in read.spans for at in (span.start, span.end))})
    for first, last in pairwise(ends):
        styles = [span.style for span in read.spans if span.start <= first and last <= span.end]
        style = Style.combine([Style.null(), *styles])
        ink, paper = _hex(style.color), _hex(style.bgcolor)
        if style.reverse:
            ink, paper = paper or _PAPER, ink or _INK
        kinds = ("b",) * bool(style.bold) + ("i",) * bool(style.italic)
        words = read.plain[first:last]
        column = cell_len(read.plain[:first])
        if paper or words.isascii():
            yield _Part(words, column, ink, paper, kinds)
            continue
        # Each word of its own: a font's wide characters are seldom just two columns wide.
        for word in re.finditer(r"\S+(?:\x20\S+)*", words):
            yield _Part(word[0], column + cell_len(words[: word.start()]), ink, paper, kinds)


def _line(parts: list[_Part], number: int, inks: list[str]) -> str:
    from attn_cli.views.width import cell_len

    top = _MARGIN + number * _LEADING
    papers, written = [], []
    for words, column, ink, paper, kinds in parts:
        if paper:
            x, length = _MARGIN + column * _ADVANCE, cell_len(words) * _ADVANCE
            papers.append(element("rect", x=x, y=top, width=length, height=_LEADING, fill=paper))
        shown = words.strip(" ")
        if not shown:
            continue
        wide = cell_len(shown)
        x = _MARGIN + (column + len(words) - len(words.lstrip(" "))) * _ADVANCE
        length = wide * _ADVANCE if wide >= _SHORT else ""
        classes = " ".join((*kinds, f"c{inks.index(ink)}") if ink else kinds)
        written.append(element("tspan", text(shown), x=x, textLength=length, class_=classes))
    return "".join((*papers, element("text", *written, y=top + _FONT)))


def _hex(colour: object) -> str:
    """A colour of a terminal in hexadecimal; nothing for the usual one."""
    return "" if colour is None or colour.is_default else colour.get_truecolor().hex

"""How a page is drawn."""

from collections.abc import Mapping
from typing import NamedTuple

# Every style of a page. A numbered colour of the 256 has a contrast of 4.5:1 or so on white and on
# black alike; a terminal of 16 shows its own blue, red and magenta. Nothing is dim: half of a
# terminal's foreground is hard to read.
STYLES = {
    "above": "color(63)",
    "above.large": "bold color(63)",
    "below": "color(131)",
    "below.large": "bold color(131)",
    "bar": "color(63)",
    "what-if": "color(163)",
    "strong": "bold",
    "block": "bold reverse",
    "term": "italic",
    "plain": "",
}


class Look(NamedTuple):
    """The drawer's settings: columns of the screen, decimals, and what may be left out.

    `view` is one of `DRAWERS`, or empty where none was asked for: a table, or a format's picture.
    `columns_are_queries` turns (query, key) matrices round; `colour` says whether styles are kept,
    and `terminal` holds TERM and COLORTERM, which say what colours there are.
    """

    view: str = ""
    width: int = 80
    digits: int = 2
    full: bool = False
    columns_are_queries: bool = False
    colour: bool = False
    terminal: Mapping[str, str] = {}

"""How a page is drawn."""

from collections.abc import Mapping
from typing import NamedTuple


class Look(NamedTuple):
    """The drawer's settings: columns of the screen, decimals, and what may be left out.

    `columns_are_queries` turns (query, key) matrices round; `colour` says whether styles are kept,
    and `terminal` holds TERM and COLORTERM, which say what colours there are.
    """

    view: str = "table"
    width: int = 80
    digits: int = 2
    full: bool = False
    columns_are_queries: bool = False
    colour: bool = False
    terminal: Mapping[str, str] = {}

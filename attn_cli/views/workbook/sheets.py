"""A workbook as plain sheets, and how the formulas of one point into the others.

Nothing here knows of the library that writes them. Rows and columns of a sheet's numbers count from
0; in the file a line of words and one of headings stand above them, and a heading to their left.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
import orjson

from attn_cli.views.items import Words

TOP, LEFT = 2, 1  # rows above the numbers, columns to their left
MOST_COLUMNS, MOST_ROWS = 16_384, 1_048_576  # of the format
# What a sheet holds: numbers that may be changed, or formulas, which follow.
Kind = Literal["values", "formulas"]
Formula = Callable[[int, int], str]


class Sheet(NamedTuple):
    """A sheet of numbers (row, column), of which the first `own` columns are an array's.

    `formula` gives the formula of a cell, "" where it is a number; `values` are what each comes to.
    `says` is the line above, `corner` what heads the headings, `provenance` a word of
    `vocabulary`. `switch`: the cells are 0 or 1.
    """

    name: str
    values: np.ndarray
    rows: Sequence[Words]
    columns: Sequence[Words]
    says: Words
    corner: Words
    provenance: str
    own: int
    formula: Formula | None = None
    switch: bool = False

    @property
    def kind(self) -> Kind:
        return "formulas" if self.formula else "values"

    def cell(self, row: int, column: int) -> str:
        """`q!C5`."""
        return f"{self.name}!{column_name(LEFT + column)}{TOP + row + 1}"

    def in_row(self, row: int, count: int = 0) -> str:
        """The array's part of a row, or so many of its first cells: `q!$B3:$I3`."""
        last = column_name(LEFT + (count or self.own) - 1)
        return f"{self.name}!${column_name(LEFT)}{TOP + row + 1}:${last}{TOP + row + 1}"

    def in_column(self, column: int) -> str:
        """A whole column: `v!C$3:C$8`."""
        name = column_name(LEFT + column)
        return f"{self.name}!{name}${TOP + 1}:{name}${TOP + len(self.values)}"

    @property
    def whole(self) -> str:
        """The array's cells: `weights!$B$3:$G$8`."""
        last = column_name(LEFT + self.own - 1)
        return f"{self.name}!${column_name(LEFT)}${TOP + 1}:${last}${TOP + len(self.values)}"


@cache
def column_name(number: int) -> str:
    """The letters of a column, 0 for the first: `A`, `Z`, `AA`."""
    name = ""
    number += 1
    while number:
        number, letter = divmod(number - 1, 26)
        name = chr(ord("A") + letter) + name
    return name


def shortest(array: np.ndarray) -> np.ndarray:
    """float32 numbers in float64, with the digits that JSON has of them; others as they are."""
    if array.dtype != np.float32:
        return array.astype(np.float64)
    finite = np.isfinite(array)
    rows = np.ascontiguousarray(np.where(finite, array, 0))
    written = orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY)
    return np.where(finite, orjson.loads(written), array)

"""The answers to a sheet as rows of a table, one for each blank, for a spreadsheet to fill in."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from attn_cli.records import Facts, Prompt
from attn_cli.views.csv import cell, written

if TYPE_CHECKING:
    from attn_cli.analysis.exercise import Blank, Sheet

BLANK, ANSWER = "blank", "answer"
# What says which cell of which array a blank is.
PLACE = ("array", "row", "column")
COLUMNS = (BLANK, "step", *PLACE, "row_token", "column_token", ANSWER)


def told(blank: "Blank") -> tuple[int | str, ...]:
    """What stands in a blank's row, but for the answer."""
    return blank[:7]


def render(
    model: Facts, prompt: Prompt, sheet: "Sheet", settings: Mapping[str, Any]
) -> Iterator[bytes]:
    """The rows as CSV, with the answers if the sheet has them."""
    yield written([COLUMNS, *(_row(blank) for blank in sheet.blanks)])


def _row(blank: "Blank") -> list[Any]:
    *numbers, row, column = told(blank)
    answer = "" if np.isnan(blank.answer) else str(np.float32(blank.answer))
    return [*numbers, cell(row), cell(column), answer]

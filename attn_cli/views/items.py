"""A page is a list of plain items: what is said and shown, in order.

Nothing here knows of widths, colours or decimals. Words travel as notes and numbers as numbers,
which a drawer writes with `numbers.in_words`; ready text is safe for a screen.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from attn_cli import vocabulary
from attn_cli.records import Facts, Prompt
from attn_cli.views.text import named
from attn_cli.words import Note, note

Page = list[NamedTuple]
Words = str | Note
NOTHING = np.zeros(0, dtype=bool)
NO_BLANKS = np.zeros((0, 0), dtype=int)
Role = Literal["plain", "headline", "title", "block", "what-if", "aside", "lead", "line", "colours"]


class Say(NamedTuple):
    """A sentence: a `plain` one explains; a `headline` answers before the numbers, a `title` heads
    a part and `block` one block's part, a `lead` leads into what follows, a `line` adds to it;
    `colours` is said only on a screen that has them."""

    words: Note
    role: Role = "plain"


def say(key: str, role: Role = "plain", /, **values: object) -> Say:
    """The sentence of `key` in the word table, with what fills it in."""
    return Say(Note(key, values), role)


def paragraph(*sentences: Say) -> Say:
    """Sentences that go on in one paragraph."""
    first, *rest = sentences
    if not rest:
        return first
    return say("page.on", first=first.words, rest=paragraph(*rest).words)


def what_ifs(settings: Mapping[str, Any], key: str = "page.what_if") -> Page:
    """The line at a page's head that says which what-if settings act; nothing if none does."""
    typed = named(" ".join(vocabulary.changes(settings)))
    return [say(key, "what-if", changes=typed)] if typed else []


class Heading(NamedTuple):
    """The model, or the name of one of which no more is known or told, and which part of it is
    meant; below it the tokens, or where the model is from."""

    model: Facts | str
    prompt: Prompt | None = None
    where: Words = ""


class StepTitle(NamedTuple):
    """The title of one of the six steps; `equation` replaces that of the vocabulary."""

    number: int
    equation: Words = ""


class Matrix(NamedTuple):
    """A matrix (row, column). Without `axes` rows are queries and columns are keys.

    `remark` says what kind of numbers these are, `elided` what to say if some are left out;
    `summed`: the last row is the sum of those above it. A cell that is `hidden` (no size: none
    is) shows no number, −∞ apart; the row `marked` (−1: none) is the one to follow. `crosses`:
    queries are target tokens, keys source tokens. Where `blanks` has a number the cell is left
    blank under it (0: it is not); of a `whole` matrix nothing is left out.
    """

    name: Words
    values: np.ndarray
    rows: Sequence[Words | int]
    columns: Sequence[Words | int]
    axes: Words = ""
    remark: Words = ""
    elided: Words = ""
    summed: bool = False
    hidden: np.ndarray = NOTHING
    marked: int = -1
    crosses: bool = False
    blanks: np.ndarray = NO_BLANKS
    whole: bool = False
    most: float = 1.0


class Shares(NamedTuple):
    """Parts of 1, each with its name; `fine` with at least two decimals."""

    names: Sequence[str]
    values: Sequence[float]
    fine: bool = False


class Column(NamedTuple):
    """A column under its header. Cells are words, aligned `left` or `right`, or floats: each a
    `number` or, with at least two decimals, a `fine` one, or a share of 1 as a `bar`."""

    header: Words
    cells: Sequence[object]
    kind: Literal["left", "right", "number", "fine", "bar"] = "number"


class Columns(NamedTuple):
    """A table of columns; `most` says which rows matter most if not all are shown: the first, the
    last, or both ends."""

    title: Words
    columns: Sequence[Column]
    most: Literal["", "first", "last", "ends"] = ""


class Measured(NamedTuple):
    """Numbers as a table, and the same as a matrix, which a view of cells draws instead."""

    columns: Columns
    matrix: Matrix


def axes_of(*, crosses: bool, columns_are_queries: bool) -> Note:
    """Which axis of a (query, key) array is which."""
    first, second = ("keys", "queries") if columns_are_queries else ("queries", "keys")
    sides = {"queries": "axes.target", "keys": "axes.source"}
    rows, columns = (note(sides[side] if crosses else f"axis.{side}") for side in (first, second))
    return note("axes.matrix", rows=rows, columns=columns)


# Queries and keys of a grid, the last ones, unless the page is full.
GRID = 24


class Grids(NamedTuple):
    """The weights (head, query, key) of several heads, small and side by side; a cell that is
    `hidden` (query, key) has a mark of its own. `names` are the queries', and the keys' unless
    `keys` names these; `titles` are the heads', if not their numbers; `crosses` as in `Matrix`."""

    names: Sequence[str]
    heads: Sequence[int]
    weights: np.ndarray
    hidden: np.ndarray = NOTHING
    keys: Sequence[str] = ()
    titles: Sequence[Words] = ()
    crosses: bool = False

    @property
    def called(self) -> list[str]:
        """What stands above each head."""
        return [str(t) for t in self.titles or (note("column.head", head=h) for h in self.heads)]


class Picture(NamedTuple):
    """A mask (query, key), and the one it is compared with; names as in `Grids`, the rest as in
    `Matrix`."""

    names: Sequence[str]
    before: np.ndarray
    after: np.ndarray
    keys: Sequence[str] = ()
    crosses: bool = False


class Progress(NamedTuple):
    """How far a run is."""

    step: int
    steps: int
    tokens_per_second: float
    seconds_left: float


class Chart(NamedTuple):
    """The values at some steps, counted from 1, of a run of `steps`."""

    at: Sequence[int]
    values: Sequence[float]
    steps: int


class Gauges(NamedTuple):
    """Shares of 1 (layer, head)."""

    values: np.ndarray


class Rankings(NamedTuple):
    """Lists under their headers, side by side: names with numbers from −1 to 1, best first."""

    headers: Sequence[Words]
    lists: Sequence[Sequence[tuple[str, float]]]

"""A sheet to work on by hand: the steps of one head with some numbers left blank, each of which
follows from numbers that are shown."""

import random
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from attn_cli import vocabulary
from attn_cli.analysis.recipes import Head, Recipe, head_of, recipes
from attn_cli.errors import ContentError, UsageError, plural
from attn_cli.parse import STEP_NAMES
from attn_cli.records import Trace

NONE = float("nan")
WIDEST = 12  # tokens, and numbers of a vector, that a sheet has room for
# An answer may be off by one unit of the last digit, and by what the rounding of the numbers that
# it is made from can do, if that is no more than so many units.
_UNITS = 25
# What is written of an array: the numbers as they are shown, one unit of the last digit of each.
Written = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class Blank(NamedTuple):
    """A number left blank, counted from 1: the cell of an array, and its tokens ("" for another
    axis). An answer is right if it is `within` so much of the number as the sheet would show it,
    which is the `answer`: NaN until the key is asked for, or someone fills one in."""

    number: int
    step: int
    array: str
    row: int
    column: int
    row_token: str
    column_token: str
    within: float
    answer: float


class Table(NamedTuple):
    """An array as the sheet shows it, NaN where a number is left blank."""

    array: str
    step: int
    axes: tuple[str, ...]
    values: np.ndarray


class Sheet(NamedTuple):
    """One head with numbers left blank. `steps` are those that can have blanks; scores are
    multiplied by `scale` and bent by a `soft_cap` where that is not 0."""

    stack: str
    kind: str
    layer: int
    head: int
    scale: float
    soft_cap: float
    steps: tuple[int, ...]
    tables: tuple[Table, ...]
    blanks: tuple[Blank, ...]

    @property
    def keyed(self) -> bool:
        """Whether it holds answers."""
        return not all(np.isnan(blank.answer) for blank in self.blanks)

    def without_key(self) -> "Sheet":
        """The sheet as it is handed out."""
        return self._replace(blanks=tuple(one._replace(answer=NONE) for one in self.blanks))


class Solved(NamedTuple):
    """A sheet with its key, and what it was made from: the head as it is computed and as it is
    `shown`, with the `units` of the last digit of each number that is."""

    sheet: Sheet
    head: Head
    shown: Head
    units: dict[str, np.ndarray]


class _Cell(NamedTuple):
    """A cell that can be left blank, its answer, and how far off an answer may be."""

    recipe: Recipe
    row: int
    column: int
    within: float
    answer: float


def solved(
    trace: Trace, written: Written, *, steps: frozenset[int], blanks: int, seed: int
) -> Solved:
    """The sheet of the only head of a trace, with its key; the same seed gives the same one.

    The trace needs `recipes.NEEDS`. Raises ContentError for a prompt that is too long for a sheet,
    and UsageError for `steps` that cannot be worked out by hand here.
    """
    (block,) = trace.attention
    for side in trace.prompt.sides(block.stack, block.kind):
        if len(side.tokens) > WIDEST:
            count = plural(len(side.tokens), "token")
            raise ContentError(f"a sheet has room for {WIDEST} tokens, not {count}", "shorten it")
    head = head_of(block)
    used = _chosen(head, steps)
    names = {one.array for one in used} | {name for one in used for name, _ in one.inputs}
    pairs = {name: written(head.of(name)) for name in names}
    rounded = {name: values for name, (values, _) in pairs.items()}
    shown = head._replace(arrays={**head.arrays, **rounded})
    units = {name: unit for name, (_, unit) in pairs.items()}
    cells = _blanked(used, head, shown, units, blanks, random.Random(seed))
    sides = [side.labels for side in trace.prompt.sides(block.stack, block.kind)]
    numbered = tuple(_blank(n, cell, sides) for n, cell in enumerate(cells, 1))
    tables = tuple(_table(name, shown, numbered) for name in vocabulary.ARRAYS if name in names)
    sheet = Sheet(
        stack=block.stack, kind=block.kind, layer=block.layer, head=block.heads[0],
        scale=block.scale, soft_cap=block.soft_cap, steps=tuple(sorted({one.step for one in used})),
        tables=tables, blanks=numbered,
    )  # fmt: skip
    return Solved(sheet, head, shown, units)


def _chosen(head: Head, steps: frozenset[int]) -> list[Recipe]:
    """The recipes of these steps that a sheet has room for. Raises UsageError for none."""
    fitting = [
        one for one in recipes(head)
        if max(max(head.of(name).shape) for name in (one.array, *(n for n, _ in one.inputs)))
        <= WIDEST
    ]  # fmt: skip
    used = [one for one in fitting if one.step in steps]
    if not used:
        known = sorted({one.step for one in fitting})
        names = ", ".join(f"{step} ({STEP_NAMES[step - 1]})" for step in known) or "none"
        asked = ", ".join(map(str, sorted(steps)))
        what = f"--step {asked} has no blanks here: vectors too wide, or more than one formula"
        raise UsageError(what, f"steps that have: {names}; --model pencil has all")
    return used


def _blanked(
    used: Sequence[Recipe], head: Head, shown: Head, units: dict[str, np.ndarray], count: int,
    draw: random.Random,
) -> list[_Cell]:  # fmt: skip
    """So many cells as blanks, if that many can be, in the order of the steps: the steps take
    turns, and no cell is made from another one."""
    blank = {name: np.zeros(values.shape, bool) for name, values in shown.arrays.items()}
    needed = {name: np.zeros(values.shape, bool) for name, values in shown.arrays.items()}
    waiting: dict[int, list[_Cell]] = {one.step: [] for one in used}
    for one in used:
        waiting[one.step] += _candidates(one, head, shown, units)
    for cells in waiting.values():
        draw.shuffle(cells)
    found: list[_Cell] = []
    while any(waiting.values()) and len(found) < count:
        for cells in waiting.values():
            while cells and len(found) < count:
                cell = cells.pop()
                at, inputs = (cell.row, cell.column), cell.recipe.cells(cell.row, cell.column)
                name = cell.recipe.array
                if needed[name][at] or any(blank[other][there].any() for other, there in inputs):
                    continue
                blank[name][at] = True
                for other, there in inputs:
                    needed[other][there] = True
                found.append(cell)
                break
    order = [one.array for one in used]
    return sorted(found, key=lambda one: (order.index(one.recipe.array), one.row, one.column))


def _candidates(
    recipe: Recipe, head: Head, shown: Head, units: dict[str, np.ndarray]
) -> list[_Cell]:
    """The cells of an array whose numbers follow from those that are shown."""
    known, unit, asked = head.of(recipe.array), units[recipe.array], shown.of(recipe.array)
    with np.errstate(all="ignore"):
        moved = np.abs(recipe.make(shown) - known)
        fits = np.isfinite(known) & (moved <= _UNITS * unit)
    return [
        _Cell(recipe, *at, float(unit[at] + moved[at]), float(asked[at]))
        for at in map(tuple, np.argwhere(fits).tolist())
    ]


def _blank(number: int, cell: _Cell, sides: Sequence[Sequence[str]]) -> Blank:
    tokens = dict(zip(("query", "key"), sides, strict=True))
    axes = vocabulary.sides_of(cell.recipe.array)
    row_token, column_token = (
        tokens[axis][at] if axis in tokens else ""
        for axis, at in zip(axes, (cell.row, cell.column), strict=True)
    )
    return Blank(
        number=number, step=cell.recipe.step, array=cell.recipe.array, row=cell.row,
        column=cell.column, row_token=row_token, column_token=column_token, within=cell.within,
        answer=cell.answer,
    )  # fmt: skip


def _table(name: str, shown: Head, blanks: Iterable[Blank]) -> Table:
    values = shown.of(name).astype(np.float32)
    for blank in blanks:
        if blank.array == name:
            values[blank.row, blank.column] = NONE
    return Table(name, vocabulary.ARRAYS[name].step, vocabulary.sides_of(name), values)

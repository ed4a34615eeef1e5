"""The sheets of one head, in computing order: what each of its cells is computed from.

Beside each formula stands the same in numpy, in float64. Only where that agrees with what the pass
computed do formulas stand in the workbook; else the numbers do, and the sheet says so.
"""

from collections.abc import Sequence

import numpy as np

from attn_cli import vocabulary
from attn_cli.maths.gaps import SUSPECT, row_error
from attn_cli.views.head_view import HeadView
from attn_cli.views.items import Words
from attn_cli.views.workbook.sheets import Formula, Sheet, shortest
from attn_cli.words import note

NOTHING = np.zeros(0)


class Head:
    """The sheets of a head that are there so far, and what they come to in float64."""

    def __init__(self, view: HeadView, settings: dict[str, float | None]) -> None:
        self.view, self.settings = view, settings
        self.sheets: dict[str, Sheet] = {}
        self.exact: dict[str, np.ndarray] = {}

    def has(self, *names: str) -> bool:
        """Whether these have a sheet."""
        return all(name in self.sheets for name in names)

    def positions(self, name: str) -> Sequence[int]:
        """The positions of an array's rows as the workbook has them; none if they are no tokens."""
        axis, block = _axes(name)[0], self.view.block
        if axis == "key":
            return block.keys
        if axis != "query":
            return ()
        return block.queries if name in _OF_TOKENS else self.view.kept

    def values(self, name: str) -> np.ndarray:
        """An array of the trace as a matrix, with the rows that the workbook has."""
        array = np.atleast_2d(self.view.arrays[name])
        if _axes(name)[0] != "query" or len(array) == len(self.positions(name)):
            return array
        places = {query: place for place, query in enumerate(self.view.block.queries)}
        return array[[places[query] for query in self.positions(name)]]

    def add(
        self,
        name: str,
        made: np.ndarray = NOTHING,
        formula: Formula | None = None,
        more: Sequence[tuple[Words, np.ndarray]] = (),
        *,
        switch: bool = False,
    ) -> bool:
        """The sheet of an array of the trace, if it has that; `made` is what the formulas give.

        `more` are columns after the array's that the formulas need, each a word and its numbers.
        Returns whether it has formulas.
        """
        if name not in self.view.arrays:
            return False
        traced = self.values(name)
        if not (formula and agrees(made, traced)):
            formula, more, made = None, (), traced.astype(np.float64)
        self.exact[name] = made
        columns = [*self._columns(name, traced.shape[1]), *(word for word, _ in more)]
        values = np.column_stack([shortest(traced), *(numbers for _, numbers in more)])
        self.put(
            name, values, columns, own=traced.shape[1], formula=formula, switch=switch,
            provenance=self.view.block.provenance(name),
        )  # fmt: skip
        return formula is not None

    def put(
        self, name: str, values: np.ndarray, columns: Sequence[Words], *, own: int,
        formula: Formula | None = None, provenance: str = vocabulary.DERIVED, like: str = "",
        switch: bool = False,
    ) -> None:  # fmt: skip
        """A sheet whose rows are named as those of an array (`like` another)."""
        rows = self._rows(like or name, len(values))
        self.sheets[name] = Sheet(
            name, values, rows, columns, note(f"xlsx.what_{name}"), self._corner(like or name),
            provenance, own, formula, switch,
        )  # fmt: skip

    def _rows(self, name: str, count: int) -> Sequence[Words]:
        view, positions = self.view, self.positions(name)
        if positions:
            names = view.key_names if _axes(name)[0] == "key" else view.names
            return [names[at] for at in positions]
        return [str(n) for n in range(count)] if len(_axes(name)) > 1 else [name]

    def _columns(self, name: str, count: int) -> Sequence[Words]:
        if _axes(name)[-1] == "key":
            return self.view.named_keys(self.view.block.keys)
        return [str(n) for n in range(count)]

    def _corner(self, name: str) -> Words:
        rows, columns = ["1", "1", *(note(f"axis.{axis}") for axis in _axes(name))][-2:]
        return note("xlsx.corner", rows=rows, columns=columns)

    def row_at(self, name: str, position: int) -> int:
        """Where a position stands among the rows of a sheet, −1 if it does not."""
        positions = self.positions(name)
        return positions.index(position) if position in positions else -1


def _axes(name: str) -> tuple[str, ...]:
    """The axes of one head's array."""
    axes = vocabulary.ARRAYS[name].axes if name in vocabulary.ARRAYS else ("query", "width")
    return tuple(axis for axis in axes if axis not in ("head", "kv_head"))


# Of which every token has a row, whichever queries are shown.
_OF_TOKENS = frozenset({"x", "normed", "angles", "mlp_output", "output"})


def agrees(made: np.ndarray, traced: np.ndarray) -> bool:
    """Whether formulas give what the pass computed, −∞ included, as far as float32 goes."""
    if made.shape != traced.shape or np.isposinf(traced).any():
        return False
    return row_error(made, traced) < SUSPECT  # NaN is not

"""The page of `attn compare`: where two passes differ most, by step, by array and by cell."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from attn_cli.notes import place
from attn_cli.records import Address, Facts, Prompt
from attn_cli.views import numbers
from attn_cli.views.items import (
    Column,
    Columns,
    Heading,
    Matrix,
    Measured,
    Page,
    Say,
    Words,
    say,
    what_ifs,
)
from attn_cli.views.text import label, labels
from attn_cli.words import Note, note

if TYPE_CHECKING:
    from attn_cli.analysis.compare import Alignment, Cell, Comparison, Difference, Predicted

    Placed = Difference | Cell

_PAIRS = 4  # that a sentence names
_SMALL = 1e-3  # below which only the size of a difference matters


def page(model: Facts, prompt: Prompt, found: "Comparison") -> Page:
    """The answer in words, then the numbers; A is the left side, B the right one."""
    of = "" if found.every else note("compare.chosen")
    names = _Names(model, prompt, found)
    items: Page = [
        Heading(model, prompt, note("compare.left")),
        *_right(model, prompt, found),
        _headline(names, found, of),
        *_why(model, found),
        *_first(names, found, of),
        *_paired(prompt, found),
    ]
    if found.layers:
        items += [say("compare.measure"), *_steps(names, found), _arrays(names, found)]
        items += _not_finite(found)
    if found.cells:
        items.append(_cells(names, found.cells))
    for one in found.prediction:
        items += _prediction(model, names, one)
    return items


class _Names:
    """How blocks, positions and tokens are called."""

    def __init__(self, model: Facts, prompt: Prompt, found: "Comparison") -> None:
        self._model, self._prompt, self._right = model, prompt, found.right.prompt
        self.one_block = len({row[:3] for row in found.layers}) < 2
        self.one_place = len({row[:2] for row in found.layers}) < 2
        self._texts = {one.stack: self._of(one) for one in found.alignment}

    def _of(self, aligned: "Alignment") -> list[str]:
        """The names of A's tokens, with those that have taken their place."""
        left, right = (labels(side.of(aligned.stack).labels)
                       for side in (self._prompt, self._right))  # fmt: skip
        for at, to, same in zip(*aligned[1:], strict=True):
            if not same:
                left[at] = f"{left[at]}/{right[to]}"
        return left

    def where(self, row: "Placed") -> Note:
        return place(self._model, row)

    def layer(self, row: "Placed") -> Words:
        key = f"compare.place_{row.stack}_{row.kind}"
        return str(row.layer) if self.one_place else note(key, layer=row.layer)

    def token(self, row: "Placed", axis: str, at: int) -> str:
        of = Address(row.stack, row.kind, row.layer)
        return self._texts[of.key_stack if axis == "key" else of.stack][at]

    def cell(self, one: "Cell") -> Words:
        """A cell: its head, its query and its key."""
        tokens = {axis: self.token(one, axis, getattr(one, axis)) for axis in ("query", "key")}
        return note("compare.head_at", head=one.head, tokens=note("compare.cell_at", **tokens))

    def at(self, row: "Difference") -> Words:
        """Where the largest difference is: its head and its tokens."""
        places = dict(zip(row.axes, row.at, strict=True))
        tokens = [self.token(row, axis, at) for axis, at in places.items()
                  if axis in ("query", "key")]  # fmt: skip
        words: Words = tokens[0] if tokens else ""
        if len(tokens) == 2:
            words = note("compare.cell_at", query=tokens[0], key=tokens[1])
        head = places.get("head", places.get("kv_head"))
        return words if head is None else note("compare.head_at", head=head, tokens=words)

    def last(self, one: "Predicted") -> tuple[str, str]:
        """The tokens at which the two predictions are made."""
        sides = (self._prompt.last, one.left_position), (self._right.last, one.right_position)
        return tuple(labels(side.labels)[at] for side, at in sides)


def _right(model: Facts, prompt: Prompt, found: "Comparison") -> Page:
    """What B is, as far as it is not what A is."""
    right, changes = found.right, what_ifs(found.right.settings, "compare.what_if")
    if right.model == model and right.prompt == prompt:
        return [say("compare.same_right", "aside"), *changes]
    return [Heading(right.model, right.prompt, note("compare.right")), *changes]


def _headline(names: _Names, found: "Comparison", of: Words) -> Say:
    goes = _goes(found.prediction[0]) if found.prediction else ""
    if not found.layers:
        return say("compare.only_next", "headline", goes=goes)
    # That a cell is hidden is told by what becomes of it.
    rows = [row for row in found.layers if row.array != "visible"]
    if not rows:
        return say("compare.only_mask", "headline", goes=goes)
    most = max(rows, key=lambda row: row.relative)
    if found.verdict != "different":
        relative = numbers.power(most.relative)
        return say(f"compare.{found.verdict}", "headline", relative=relative, of=of)
    if not most.largest:
        most = max(rows, key=lambda row: row.unlike)
        return say("compare.unlike", "headline", array=most.array, where=names.where(most),
                   count=most.unlike, goes=goes, of=of)  # fmt: skip
    return say(
        "compare.different", "headline", array=most.array, where=names.where(most),
        relative=most.relative, largest=most.largest, at=names.at(most), goes=goes, of=of,
    )  # fmt: skip


def _goes(one: "Predicted") -> Note:
    """What becomes of the likeliest token."""
    left = min((t for t in one.tokens if t.left_rank), key=lambda token: token.left_rank)
    right = min((t for t in one.tokens if t.right_rank), key=lambda token: token.right_rank)
    before, after = numbers.together(left.left, right.right)
    return note(
        "compare.stays" if left == right else "compare.goes",
        left=label(left.text), right=label(right.text), before=before, after=after,
    )  # fmt: skip


def _why(model: Facts, found: "Comparison") -> Page:
    """What a longer prompt changes, and why; only where this is what the numbers show."""
    if not found.longer or not found.layers:
        return []
    if model.writes and found.verdict != "different":
        rounds = [say("compare.rounds")] if found.verdict == "rounding" else []
        return [say("compare.longer"), *rounds]
    return [say("compare.both_sides")] if not model.writes and found.verdict == "different" else []


def _first(names: _Names, found: "Comparison", of: Words) -> Page:
    """Where differences begin, unless they do so with the first array."""
    rows = enumerate(found.layers)
    number, first = next(((n, row) for n, row in rows if row.verdict == "different"), (0, None))
    if not number:
        return []
    where = names.where(first)
    return [say("compare.first", array=first.array, where=where, step=first.step, of=of)]


def _paired(prompt: Prompt, found: "Comparison") -> Page:
    """Which tokens are compared, unless it is all of them and with the same ones."""
    items: Page = []
    for one in found.alignment:
        sides = [read.of(one.stack) for read in (prompt, found.right.prompt)]
        counts = [len(side.tokens) for side in sides]
        replaced = [
            f"{label(sides[0].labels[at])}/{label(sides[1].labels[to])}"
            for at, to, same in zip(*one[1:], strict=True)
            if not same
        ]
        others = max(counts) > len(one.left)
        stack = note(f"stack.{one.stack}")
        of = note("compare.of", stack=stack) if len(found.alignment) > 1 else ""
        if others:
            count, (left, right) = len(one.left), counts
            items.append(say("compare.paired", count=count, left=left, right=right, of=of))
        if replaced:
            shown = ", ".join(replaced[:_PAIRS]) + (", …" if len(replaced) > _PAIRS else "")
            items.append(say("compare.replaced", pairs=shown, of=of))
    return items


def _steps(names: _Names, found: "Comparison") -> Page:
    """A row for each block, a column for each step, where this tells more than the arrays do."""
    if names.one_block or found.verdict == "equal":
        return []
    blocks = {row[:3]: row for row in found.layers}
    largest: dict[tuple, float] = {}
    for row in found.layers:
        key = (*row[:3], row.step)
        largest[key] = max(largest.get(key, 0.0), row.relative)
    layers = [names.layer(row) for row in blocks.values()]
    left_or_right = "right" if names.one_place else "left"
    columns = [Column(note("compare.column_layer"), layers, left_or_right)]
    steps = sorted({row.step for row in found.layers})
    headers = [note(f"compare.step_{step}") for step in steps]
    of_steps = [[largest.get((*block, step), np.nan) for block in blocks] for step in steps]
    for header, values in zip(headers, of_steps, strict=True):
        columns.append(Column(header, _exact_zeros(values), "right"))
    table = Columns(note("compare.steps"), columns)
    name, axes = note("compare.steps_cells"), note("compare.axes")
    return [Measured(table, Matrix(name, np.transpose(of_steps), layers, steps, axes))]


def _exact_zeros(values: Sequence[float]) -> list[object]:
    """Numbers that stand together, of which one that is 0 is told from one that rounds to it."""
    small = 0 < max(values, default=0) < _SMALL
    return ["0" if not value else numbers.power(value) if small
            else numbers.Number(value, values) for value in values]  # fmt: skip


def _arrays(names: _Names, found: "Comparison") -> Columns:
    worst: dict[str, Difference] = {}
    for row in found.layers:
        if row.array not in worst or row.relative > worst[row.array].relative:
            worst[row.array] = row
    rows = sorted(worst.values(), key=lambda row: row.step)
    columns = [
        Column(note("column.array"), [row.array for row in rows], "left"),
        Column(note("column.step"), [str(row.step) for row in rows], "right"),
        *(
            Column(note(f"compare.column_{name}"),
                   _exact_zeros([getattr(row, name) for row in rows]), "right")
            for name in ("largest", "mean", "relative")
        ),
    ]  # fmt: skip
    if not names.one_block:
        layers = [names.layer(row) if row.largest else "" for row in rows]
        columns.append(Column(note("compare.column_layer"), layers, "right"))
    at = [names.at(row) if row.largest else "" for row in rows]
    columns.append(Column(note("compare.column_at"), at, "left"))
    return Columns(note("compare.arrays"), columns)


def _not_finite(found: "Comparison") -> Page:
    counts: dict[str, int] = {}
    for row in found.layers:
        if row.unlike:
            counts[row.array] = counts.get(row.array, 0) + row.unlike
    listed: Words = ""
    for array, count in counts.items():
        one = note("compare.count_of", count=numbers.count(count), array=array)
        listed = note("page.two", first=listed, rest=one) if listed else one
    return [say("compare.not_finite", counts=listed)] if counts else []


def _cells(names: _Names, cells: "Sequence[Cell]") -> Columns | Measured:
    """A row for each cell; of one block, which has no other matrix, a view of cells draws them."""
    columns = [
        Column(note("column.head_number"), [str(cell.head) for cell in cells], "right"),
        Column(note("column.query"), [names.token(c, "query", c.query) for c in cells], "left"),
        Column(note("column.key"), [names.token(c, "key", c.key) for c in cells], "left"),
        Column(note("compare.column_a"), [cell.left for cell in cells], "fine"),
        Column(note("compare.column_b"), [cell.right for cell in cells], "fine"),
        Column(note("compare.column_change"), [c.right - c.left for c in cells], "fine"),
    ]
    if not names.one_block:
        layers = [names.layer(cell) for cell in cells]
        columns.insert(0, Column(note("compare.column_layer"), layers, "right"))
    title = note("compare.cells", array=cells[0].array)
    table = Columns(title, columns)
    if not names.one_block:
        return table
    values = np.array([(cell.left, cell.right, cell.right - cell.left) for cell in cells])
    heads = [note("compare.column_a"), note("compare.column_b"), note("compare.column_change")]
    matrix = Matrix(title, values, [names.cell(c) for c in cells], heads, note("compare.cell_axes"))
    return Measured(table, matrix)


def _prediction(model: Facts, names: _Names, one: "Predicted") -> Page:
    left, right = names.last(one)
    key = "compare.after" if left == right else "compare.after_two"
    what = note("next.mask", query=left) if model.masked else note(key, left=left, right=right)
    values = [(token.left, token.right) for token in one.tokens]
    columns = [Column(note("column.token"), [label(token.text) for token in one.tokens], "left")]
    for side, name in enumerate("ab"):
        cells = [numbers.Number(pair[side], np.ravel(values)) for pair in values]
        told = [cell if np.isfinite(cell.value) else "–" for cell in cells]
        columns.append(Column(note(f"compare.column_{name}"), told, "right"))
    nats = say("compare.divergence", nats=one.divergence)
    told = nats if np.isfinite(one.divergence) else say("compare.no_divergence")
    return [Columns(note("compare.next", what=what), columns), told]

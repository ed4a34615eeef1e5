"""The pages of `attn exercise`: a sheet with numbers left blank, and what was made of answers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from attn_cli import vocabulary
from attn_cli.errors import bounded
from attn_cli.notes import place
from attn_cli.records import Facts, Prompt
from attn_cli.views import numbers
from attn_cli.views.formats import FORMATS
from attn_cli.views.items import Column, Columns, Heading, Matrix, Page, StepTitle, Words, say
from attn_cli.views.text import labels, visible
from attn_cli.words import note

if TYPE_CHECKING:
    from attn_cli.analysis.exercise import Blank, Sheet, Table
    from attn_cli.analysis.marking import Mark, Marked

    Found, Cell = Sheet | Marked, Blank | Mark

Items = Iterator[NamedTuple]


def page(model: Facts, prompt: Prompt, sheet: "Sheet", settings: Mapping[str, Any]) -> Page:
    """The sheet, step by step; at its end the key, if it holds one, or how to check answers."""
    items = questions(model, prompt, sheet, settings)
    if sheet.keyed:
        return [*items, key(prompt, sheet)]
    few = [blank.number for blank in sheet.blanks][:2]
    example = ", ".join(f'"{number}": {number / 2:g}' for number in few)
    seed = visible(bounded(str(settings["seed"])))
    return [*items, say("exercise.how", "lead", example=example, seed=seed)]


def questions(model: Facts, prompt: Prompt, sheet: "Sheet", settings: Mapping[str, Any]) -> Page:
    """The sheet, step by step."""
    items: Page = [
        Heading(model, prompt, _where(model, sheet)),
        say("exercise.one") if len(sheet.blanks) == 1 else
        say("exercise.many", count=len(sheet.blanks)),
        say("exercise.within"),
        *_not_asked(sheet, settings),
    ]  # fmt: skip
    for step in range(1, 7):
        tables = [table for table in sheet.tables if table.step == step]
        if tables:
            asked = step in sheet.steps
            title = _equation(step, model, sheet) if asked else note("exercise.given")
            items.append(StepTitle(step, title))
            items.extend(_matrix(table, prompt, sheet) for table in tables)
    return items


def key(prompt: Prompt, sheet: "Sheet") -> Columns:
    """Every blank with its answer."""
    columns = [
        Column(note("exercise.blank"), [_number(blank) for blank in sheet.blanks], "left"),
        Column(note("exercise.where"), named(prompt, sheet), "left"),
        Column(note("exercise.answer"), _written(b.answer for b in sheet.blanks), "right"),
    ]
    return Columns(note("exercise.key"), columns)


def named(prompt: Prompt, sheet: "Sheet") -> list[Words]:
    """What each blank is: its array, row and column."""
    return [_cell(blank, prompt, sheet) for blank in sheet.blanks]


def _number(at: "Cell") -> Words:
    return note("exercise.number", number=at.number)


def written(
    kind: str, model: Facts, prompt: Prompt, sheet: "Sheet", settings: Mapping[str, Any]
) -> Iterable[bytes]:
    """The sheet in a format that has a module for it; nothing in one that has not."""
    module = FORMATS[kind].sheet
    return import_module(module).render(model, prompt, sheet, settings) if module else ()


def marked_page(model: Facts, prompt: Prompt, found: "Marked") -> Page:
    """How many answers are right, and each with what is known of it."""
    count = len(found.marks)
    if found.right < count:
        headline = say("exercise.marked", "headline", right=found.right, count=count)
    else:
        key = "exercise.right_one" if count == 1 else "exercise.all_right"
        headline = say(key, "headline", count=count)
    columns = [
        Column(note("exercise.blank"), [_number(mark) for mark in found.marks], "left"),
        Column(note("exercise.where"), [_cell(m, prompt, found) for m in found.marks], "left"),
        Column(note("exercise.yours"), _written(m.given for m in found.marks), "right"),
        Column(note("exercise.verdict"), [_verdict(mark) for mark in found.marks], "left"),
    ]
    if not all(np.isnan(mark.answer) for mark in found.marks):
        answers = _written(mark.answer for mark in found.marks)
        columns.insert(3, Column(note("exercise.answer"), answers, "right"))
    items: Page = [Heading(model, prompt, _where(model, found)), headline]
    return [*items, Columns(note("exercise.answers"), columns)]


def saved_page(model: Facts, prompt: Prompt, found: "Found", settings: Mapping[str, Any]) -> Page:
    """The page of a saved sheet, or of answers. Raises ValueError, and LookupError, where cells are
    named that are not there, or blanks are not counted from 1."""
    marks = type(found).__name__ == "Marked"
    sides = (len(side.tokens) for side in prompt.sides(found.stack, found.kind))
    tokens = dict(zip(("query", "key"), sides, strict=True))
    shapes = {} if marks else {one.array: one.values.shape for one in found.tables}
    every = found.marks if marks else found.blanks
    if [one.number for one in every] != list(range(1, len(every) + 1)):
        raise ValueError
    for one in every:
        place, shape = (one.row, one.column), () if marks else shapes[one.array]
        counts = [tokens.get(axis) for axis in vocabulary.sides_of(one.array)]
        for at, counted in zip(place * 2, (*counts, *shape), strict=not marks):
            if at < 0 or (counted is not None and at >= counted):
                raise ValueError
    return marked_page(model, prompt, found) if marks else page(model, prompt, found, settings)


def _not_asked(sheet: "Sheet", settings: Mapping[str, Any]) -> Page:
    """Which steps no number can be left blank in, where all were asked for."""
    others = [str(step) for step in range(1, 7) if step not in sheet.steps]
    if settings["step"] or not others:
        return []
    key = "exercise.not_asked" if others[1:] else "exercise.not_asked_one"
    return [say(key, steps=", ".join(others))]


def _where(model: Facts, found: "Found") -> Words:
    return note("page.head", where=place(model, found), head=found.head)


def _verdict(mark: "Mark") -> Words:
    if not mark.mistakes:
        return note(f"verdict.{mark.verdict}")
    words: Sequence[Words] = [note(f"mistake.{name}") for name in mark.mistakes]
    *others, said = words
    for other in reversed(others):
        said = note("exercise.or", first=other, rest=said)
    return note("exercise.as_if", mistake=said)


def _written(values: Iterator[float]) -> list[str]:
    """Numbers that do not belong together, each with the digits that it needs."""
    return ["" if np.isnan(value) else numbers.exact(value + 0.0) for value in values]


def _cell(at: "Cell", prompt: Prompt, found: "Found") -> Words:
    """The array, the row and the column of a blank."""
    rows, columns = (_names(axis, prompt, found, None) for axis in vocabulary.sides_of(at.array))
    row = f"`{rows[at.row]}`" if rows else note("exercise.row", row=at.row)
    column = f"`{columns[at.column]}`" if columns else note("exercise.column", column=at.column)
    return note("exercise.cell", array=at.array, row=row, column=column)


def _names(axis: str, prompt: Prompt, found: "Found", count: int | None) -> Sequence[Words | int]:
    """The tokens of an axis, or its numbers, none of these without a `count`."""
    if axis in ("query", "key"):
        return labels(prompt.sides(found.stack, found.kind)[axis == "key"].labels)
    if not axis:
        return [""] * (count or 0)
    return range(count or 0)


def _matrix(table: "Table", prompt: Prompt, sheet: "Sheet") -> Matrix:
    rows, columns = (
        _names(axis, prompt, sheet, count)
        for axis, count in zip(table.axes, table.values.shape, strict=True)
    )
    if (len(rows), len(columns)) != table.values.shape:
        raise ValueError
    blanks = np.zeros(table.values.shape, int)
    for blank in sheet.blanks:
        if blank.array == table.array:
            blanks[blank.row, blank.column] = blank.number
    square = table.axes == ("query", "key")
    first, last = (note(f"axis.{axis}") if axis else "1" for axis in table.axes)
    axes: Words = note("axes.matrix", rows=first, columns=last)
    if table.axes[0] in ("query", "key"):
        axes = "" if square else note("axes.tokens", axis=last)
    name = note("exercise.visible") if table.array == "visible" else table.array
    return Matrix(
        name, table.values, rows, columns, axes, crosses=square and sheet.kind == "cross",
        blanks=blanks, whole=True,
    )  # fmt: skip


def _equation(step: int, model: Facts, sheet: "Sheet") -> Words:
    """What the numbers of a step are made from on this sheet."""
    there = {table.array for table in sheet.tables}
    if step == 1:
        parts = [name for name in vocabulary.ARRAYS if name in vocabulary.EMBEDDING_PARTS & there]
        return note("exercise.title_1", parts=" + ".join(parts))
    if step == 2:
        return _projected(there, sheet)
    if step == 3:
        terms = " + ".join(name for name in vocabulary.TERMS if name in there)
        return note("exercise.title_3_terms", terms=terms) if terms else note("exercise.title_3")
    if step == 4:
        return _scaled(model, sheet, biased="bias" in there)
    if step == 5:
        return note("exercise.title_5_sink" if "sink" in there else "exercise.title_5")
    return note("exercise.title_6_output" if "head_output" in there else "exercise.title_6")


def _projected(there: set[str], sheet: "Sheet") -> Words:
    x = "normed" if "normed" in there else "x"
    biases = {
        letter: note("exercise.added", letter=letter) if f"b_{letter}" in there else ""
        for letter in "qkv"
    }
    kv = "key_x" if sheet.kind == "cross" else x
    return note("exercise.title_2", x=x, kv=kv, **biases)


def _scaled(model: Facts, sheet: "Sheet", *, biased: bool) -> Words:
    scale, more = f"{sheet.scale:.6g}", str(note("exercise.title_4_bias")) if biased else ""
    if sheet.soft_cap:
        words = {"scale": scale, "cap": f"{sheet.soft_cap:g}"}
        return f"{note('exercise.title_4_cap', **words)}{more}"
    rooted = abs(sheet.scale * model.head_width**0.5 - 1) < 1e-6
    root = note("exercise.root", width=model.head_width) if rooted else ""
    return note("exercise.title_4", scale=f"{scale}{more}", root=root)

"""One head of a trace as a workbook with live formulas, written with XlsxWriter.

It is the writer that keeps what each formula comes to beside it, so that a viewer which computes
nothing shows the numbers. The same trace gives the same bytes.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from attn_cli import vocabulary
from attn_cli.errors import ContentError, UsageError, some
from attn_cli.records import Facts, Trace
from attn_cli.views.formats import Drawing
from attn_cli.views.trace import view_of
from attn_cli.views.workbook.front import SETTINGS, Cell, Link, Live, Setting, Title, lines
from attn_cli.views.workbook.front import settings_of as used_settings
from attn_cli.views.workbook.head import Head
from attn_cli.views.workbook.sheets import LEFT, MOST_COLUMNS, TOP, Sheet
from attn_cli.views.workbook.steps import STEPS
from attn_cli.views.workbook.writing import Book, load, pattern, shown, written
from attn_cli.words import note, sentence

# A workbook of so many cells takes a quarter of a minute to write, and as long to open; matrices of
# more are left out unless they are asked for.
MOST_CELLS, MOST_PARAMETERS = 1_000_000, 400_000
_BESIDE = 4  # columns that stand beside an array's
_OF_QUERY_AND_KEY = 8  # sheets that have a cell for each pair
_DIGITS = 3
# Bytes that the writer takes for the cells of a query and a key on all sheets, for a formula of
# another sheet and for a number, measured.
_PAIR, _FORMULA, _PLAIN = 3_870, 380, 290
_KEPT = frozenset({
    "x", "key_x", "w_norm", "b_norm", "normed", "q_unrotated", "k_unrotated", "q", "k", "v",
    "q_position", "k_position", *vocabulary.TERMS, "scores", "scaled", "bias", "visible", "masked",
    "sink", "weights", "sink_share", "z", "w_o", "head_output",
})  # fmt: skip
# Without these in a saved trace there is no workbook of it.
NEEDED = frozenset({
    "x", "q", "k", "v", "scores", "scaled", "visible", "masked", "weights", "z",
})  # fmt: skip


def needed(drawing: Drawing) -> frozenset[str]:
    """The arrays of a workbook. Raises UsageError and ContentError for what cannot be one."""
    load()
    _one_head([(at, heads) for at in drawing.blocks for heads in drawing.heads[at.stack]])
    if drawing.after:
        raise UsageError(sentence("xlsx.after"), sentence("xlsx.after_hint"))
    (at,), facts = drawing.blocks, drawing.model
    queries, keys = drawing.shown[at.stack, at.kind]
    sides = [len(side.tokens) for side in drawing.prompt.sides(at.stack, at.kind)]
    if len(keys) < sides[1]:
        raise UsageError(sentence("xlsx.keys"), sentence("xlsx.keys_hint"))
    _check_columns(facts, len(keys))
    matrices = _matrix_cells(facts)
    matrices = matrices if drawing.parameters or matrices <= MOST_PARAMETERS else 0
    none = "xlsx.large_parameters" if drawing.parameters else "xlsx.large_none"
    _check_cells(facts, len(queries), len(keys), matrices, none)
    if not matrices:
        return _KEPT
    letters = "v" if facts.head_norm in ("each", "all") else "qkv"  # else they are no products
    return _KEPT | {f"{start}_{letter}" for letter in letters for start in "wb"}


def weight(drawing: Drawing) -> Callable[[Mapping[str, int]], int]:
    """About how many bytes it takes to write a workbook, by the tokens that each stack reads."""
    (at,), facts = drawing.blocks, drawing.model
    shown, matrices = len(drawing.shown[at.stack, at.kind][0]), _matrix_cells(facts)
    matrices = matrices if drawing.parameters or matrices <= MOST_PARAMETERS else 0
    width, value, head = facts.model_width, facts.of_values, facts.head_width

    def of(tokens: Mapping[str, int]) -> int:
        own, keys = tokens[at.stack], tokens[at.key_stack]
        queries = min(own, shown)
        projected = queries * head + keys * (head + value)
        formulas = queries * (width + value) + own * width + projected * bool(matrices)
        plain = own * width + value * width + matrices + projected * (not matrices)
        return queries * keys * _PAIR + formulas * _FORMULA + plain * _PLAIN

    return of


def render(trace: Trace) -> Iterator[bytes]:
    """The workbook in one piece. Raises UsageError where the trace has several heads."""
    load()
    _one_head([(block.address, head) for block in trace.attention for head in block.heads])
    head = _computed(trace)
    yield written(lambda book: _Writer(book).write(trace, head))


def _one_head(heads: Sequence[tuple[Any, int]]) -> None:
    if len(heads) != 1:
        kinds = {at[:2] for at, _ in heads}
        named = [f"{at.stack} {at.kind} " * (len(kinds) > 1) + f"{at.layer}.{n}" for at, n in heads]
        words = sentence("xlsx.one_head", heads=some(named, 3))
        hint = "xlsx.one_kind_hint" if len(kinds) > 1 else "xlsx.one_head_hint"
        raise UsageError(words, sentence(hint, stack=heads[0][0].stack))


def _matrix_cells(facts: Facts) -> int:
    """How many cells the matrices of q, k and v take."""
    return facts.model_width * (2 * facts.head_width + facts.of_values)


def _check_columns(facts: Facts, keys: int) -> None:
    most = MOST_COLUMNS - LEFT - _BESIDE
    for what, count in (("tokens", keys), ("model", facts.model_width)):
        if count > most:
            words = {"most": MOST_COLUMNS, "what": sentence(f"xlsx.{what}_of"), "fits": most}
            raise ContentError(
                sentence("xlsx.wide", count=count, needed=count + MOST_COLUMNS - most, **words),
                sentence("xlsx.wide_hint", **words),
            )


def _check_cells(facts: Facts, queries: int, keys: int, matrices: int, none: str) -> None:
    """Whether a workbook opens, with so many cells of the matrices of q, k and v; `none` is the
    hint where no count of queries fits."""
    width, head = facts.model_width, facts.head_width + facts.of_values
    each = _OF_QUERY_AND_KEY * keys + width + 2 * head
    rest = keys * 2 * (width + head) + width * facts.of_values + matrices
    cells, fits = rest + queries * each, (MOST_CELLS - rest) // each
    if cells <= MOST_CELLS:
        return
    hint = "xlsx.large_hint" if fits > 0 else none
    words = {"cells": cells, "most": MOST_CELLS, "fits": fits}
    raise ContentError(sentence("xlsx.large", **words), sentence(hint, **words))


def _computed(trace: Trace) -> Head:
    """The sheets of the trace's only head."""
    (block,) = trace.attention
    shown = block.rows or block.queries, block.keys
    view = view_of(trace, block, 0, shown, follow=False, full=True)
    settings: dict[str, float | None] = {
        "scale": float(str(np.float32(block.scale))),
        "attention_temperature": trace.settings["attention_temperature"],
        "mask_value": trace.settings["mask_value"],
        "head_kept": float(view.head not in block.removed),
        "soft_cap": block.soft_cap,
        "clip": trace.model.clipped,
        "epsilon": trace.model.epsilon,
        "attention_factor": trace.model.attention_factor(block.layer),
    }
    if view.has("sink"):
        settings["sink"] = float(view.arrays["sink"])
    head = Head(view, settings)
    for step in STEPS:
        step(head)
    return head


class _Writer(Book):
    """Writes the sheets of a head."""

    def write(self, trace: Trace, head: Head) -> None:
        """The first sheet, the settings and the arrays."""
        facts, cells = trace.model, _matrix_cells(trace.model)
        there = "w_v" in head.view.arrays or facts.kv_latent
        left_out = 0 if there or cells <= MOST_PARAMETERS else cells
        front = self.book.add_worksheet(sentence("xlsx.first"))
        self._settings(used_settings(head))
        for row, line in enumerate(lines(trace, head, left_out)):
            for column, cell in enumerate(line):
                self._cell(front, row, column, cell)
        front.set_column(0, 0, 22)
        front.set_column(1, 3, 14)
        for sheet in head.sheets.values():
            self._sheet(sheet)

    def _settings(self, settings: Sequence[Setting]) -> None:
        page = self.book.add_worksheet(SETTINGS)
        self._cell(page, 0, 0, Title(note("xlsx.what_settings")))
        for column, word in enumerate(("setting", "value", "traced", "meaning")):
            self._cell(page, 1, column, Title(note(f"xlsx.{word}")))
        for row, (name, value) in enumerate(settings, TOP):
            self._cell(page, row, 0, name)
            for column in (1, 2):
                self.number(page, row, column, -math.inf if value is None else value,
                             self.format("", changes=column == 1))  # fmt: skip
            self._cell(page, row, 3, note(f"xlsx.setting_{name}"))
            self.book.define_name(name, f"={SETTINGS}!$B${row + 1}")
            if name == "attention_temperature":
                least = {"validate": "decimal", "criteria": ">=", "value": 0}
                page.data_validation(row, 1, row, 1, least)
        page.set_column(0, 3, 22)

    def _sheet(self, sheet: Sheet) -> None:
        page = self.book.add_worksheet(sheet.name)
        self.text(page, 0, 0, sheet.says, self.title)
        self.text(page, 1, 0, sheet.corner, self.heading)
        for column, word in enumerate(sheet.columns, LEFT):
            self.text(page, 1, column, word, self.heading)
        form = self.format(
            "0" if sheet.switch else pattern(sheet.values[:, : sheet.own], _DIGITS),
            changes=not sheet.formula,
        )
        for row, values in enumerate(sheet.values.tolist()):
            self.text(page, TOP + row, 0, sheet.rows[row], self.plain)
            for column, value in enumerate(values):
                text = sheet.formula(row, column) if sheet.formula else ""
                at = TOP + row, LEFT + column
                if text:
                    page.write_formula(*at, f"={text}", form, shown(value))
                else:
                    self.number(page, *at, value, form)
        page.set_column(0, 0, 24)
        page.freeze_panes(TOP, LEFT)
        area = TOP, LEFT, TOP + len(sheet.values) - 1, LEFT + sheet.own - 1
        if sheet.switch:
            page.data_validation(*area, {"validate": "list", "source": ["1", "0"]})
        if sheet.name.startswith("weights"):
            shades = {"type": "2_color_scale", "min_type": "num", "max_type": "num",
                      "min_value": 0, "max_value": 1, "min_color": "#FFFFFF",
                      "max_color": "#5B9BD5"}  # fmt: skip
            page.conditional_format(*area, shades)

    def _cell(self, page: Any, row: int, column: int, cell: Cell) -> None:
        if isinstance(cell, Title):
            self.text(page, row, column, cell.words, self.title)
        elif isinstance(cell, Link):
            page.write_url(row, column, f"internal:'{cell.sheet}'!A1", string=cell.sheet)
        elif isinstance(cell, Live):
            page.write_formula(row, column, f"={cell.formula}", self.format("0.000"), cell.value)
        elif isinstance(cell, int | float):
            form = self.format("0.000" if isinstance(cell, float) else "")
            self.number(page, row, column, cell, form)
        elif cell:
            self.text(page, row, column, cell, self.plain)

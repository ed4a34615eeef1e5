"""The page of `attn verify`: the largest error of every array, and what to think of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attn_cli.notes import place
from attn_cli.records import Facts, Prompt
from attn_cli.views import numbers
from attn_cli.views.items import Column, Columns, Heading, Page, say
from attn_cli.views.text import named
from attn_cli.words import Note, note

if TYPE_CHECKING:
    from attn_cli.analysis.verify import StepError, Verification


def page(model: Facts, prompt: Prompt, found: "Verification") -> Page:
    """The verdict in words, then a row per array."""
    verdict, error = note(f"verdict.{found.verdict}"), numbers.power(found.largest)
    items: Page = [
        Heading(model, prompt),
        say("verify.headline", "headline", verdict=verdict, layers=found.layers, error=error),
        say("verify.what"),
        _table(model, note("verify.float64"), found.float64),
    ]
    if found.reference:
        source = note("verify.reference", source=named(found.reference_source))
        items.append(_table(model, source, found.reference))
    return items


def _table(model: Facts, title: Note, rows: "Sequence[StepError]") -> Columns:
    places = [place(model, row) if model.encoder else str(row.layer) for row in rows]
    verdicts = [note(f"verdict.{row.verdict}") for row in rows]
    columns = (
        Column(note("column.step"), [str(row.step) for row in rows], "left"),
        Column(note("column.array"), [row.name for row in rows], "left"),
        Column(note("verify.column_error"), [numbers.power(row.error) for row in rows], "right"),
        Column(note("verify.column_layer"), places, "right"),
        Column(note("verify.column_verdict"), verdicts, "left"),
    )
    return Columns(title, columns)

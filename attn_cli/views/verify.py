"""The page of `attn verify`: the largest error of every array, and what to think of it."""

from typing import TYPE_CHECKING

from attn_cli.records import ModelFacts, Prompt
from attn_cli.views import numbers
from attn_cli.views.items import Column, Columns, Heading, Page, say
from attn_cli.views.text import visible
from attn_cli.words import Note, note

if TYPE_CHECKING:
    from attn_cli.analysis.verify import StepError, Verification


def page(model: ModelFacts, prompt: Prompt, found: "Verification") -> Page:
    """The verdict in words, then a row per array."""
    items: Page = [
        Heading(model, prompt),
        say(
            "verify.headline", "headline", verdict=_verdict(found.verdict), layers=found.layers,
            error=numbers.power(found.largest),
        ),
        say("verify.what"),
        say("verify.float64", "title"),
        _table(found.float64),
    ]  # fmt: skip
    if found.reference:
        source = visible(found.reference_source)
        items += [say("verify.reference", "title", source=source), _table(found.reference)]
    return items


def _verdict(verdict: str) -> Note:
    return note(f"verdict.{verdict}")


def _table(rows: "tuple[StepError, ...]") -> Columns:
    columns = (
        Column(note("column.step"), [str(row.step) for row in rows], "left"),
        Column(note("column.array"), [row.name for row in rows], "left"),
        Column(note("verify.column_error"), [numbers.power(row.error) for row in rows], "right"),
        Column(note("verify.column_layer"), [str(row.layer) for row in rows], "right"),
        Column(note("verify.column_verdict"), [_verdict(row.verdict) for row in rows], "left"),
    )
    return Columns(columns)

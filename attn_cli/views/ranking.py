"""The page of `attn heads` with several layers: all their heads in one table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from attn_cli import vocabulary
from attn_cli.records import Trace
from attn_cli.views.heads import SINK, at_layer, first_token, log_left, sinks_in, split_off, sunk
from attn_cli.views.items import Column, Columns, Heading, Page, Say, say, what_ifs
from attn_cli.views.numbers import Number
from attn_cli.views.text import label, labels
from attn_cli.words import Note, note

if TYPE_CHECKING:
    from attn_cli.analysis.heads import Heads, HeadSummary, Layers

    Rows = Sequence[tuple[Heads, HeadSummary]]

_OF_ONE_STACK = ("previous_share", "self_share")
_OF_TWINS = ("duplicate_share", "induction_share")
_FIELDS = tuple(field for field in vocabulary.HEAD_COLUMNS.values() if field != "rest_share")


def page(trace: Trace, found: "Layers") -> Page:
    """Headline, what the first token gets, and all heads in the order that was asked for."""
    rows = _in_order(found)
    sides = {trace.prompt.sides(one.stack, one.kind)[1].labels[0] for one in found.layers}
    names = [label(name) for name in sides]
    smallest = found.column in vocabulary.SMALLEST_FIRST
    again = any(not np.isnan(head.duplicate_share) for _, head in rows)
    order = note("heads.smallest" if smallest else "heads.largest")
    return [
        Heading(trace.model, trace.prompt, note("heads.all")),
        *what_ifs(trace.settings),
        _best(trace, rows),
        _sinks([head for _, head in rows], first_token(names)),
        *(split := split_off(trace, names, "heads.but_all")),
        Columns(
            note("heads.ranking", column=found.column, order=order),
            _columns(trace, found.column, rows, split=bool(split)),
            "first",
        ),
        say("heads.columns_are"),
        *sinks_in([head for _, head in rows], split=bool(split)),
        say("heads.again") if again else say("heads.never_again"),
    ]


def _in_order(found: "Layers") -> "Rows":
    known = {
        (one.stack, one.kind, one.layer, head.head): (one, head)
        for one in found.layers
        for head in one.heads
    }
    return [known[ranked[:4]] for ranked in found.ranking]


def _columns(trace: Trace, column: str, rows: "Rows", *, split: bool) -> list[Column]:
    """What heads are ranked by first, then the others."""
    names = [at_layer(trace, one.stack, one.kind, one.layer, head.head) for one, head in rows]
    columns, heads = [Column(note("column.head_number"), names, "left")], [head for _, head in rows]
    for field in dict.fromkeys((vocabulary.HEAD_COLUMNS[column], *_FIELDS)):
        known = not np.isnan([getattr(head, field) for head in heads]).all()
        if known or field not in (*_OF_TWINS, *SINK):
            columns.append(_column(trace, field, rows))
        if field == "first_share" and split:
            columns.append(log_left(heads))
    return columns


def _column(trace: Trace, field: str, rows: "Rows") -> Column:
    """The numbers of a field; a dash where a head cannot have one."""
    numbers = [float(getattr(head, field)) for _, head in rows]
    dashes = [
        field in _OF_TWINS
        or (field in _OF_ONE_STACK and (one.kind == "cross" or len(head.looks_at) < 2))
        or (field == "first_value" and len(trace.prompt.sides(one.stack, one.kind)[1].tokens) < 2)
        for one, head in rows
    ]
    if not any(dash and np.isnan(n) for dash, n in zip(dashes, numbers, strict=True)):
        return Column(note(f"heads.{field}"), numbers)
    known = [n for n in numbers if not np.isnan(n)]
    cells = [
        "–" if dash and np.isnan(n) else Number(n, known, 0)
        for dash, n in zip(dashes, numbers, strict=True)
    ]
    return Column(note(f"heads.{field}"), cells, "right")


def _best(trace: Trace, rows: "Rows") -> Say:
    """Names the sharpest and the strongest head, of those whose numbers are finite."""
    sharp = [row for row in rows if np.isfinite(row[1].entropy)]
    strong = [row for row in rows if np.isfinite(row[1].norm)]
    if not sharp or not strong:
        return say("heads.none", "headline", count=len(rows))
    sharpest = min(sharp, key=lambda row: row[1].entropy)
    strongest = max(strong, key=lambda row: row[1].norm)
    at = [at_layer(trace, b.stack, b.kind, b.layer, head.head) for b, head in (sharpest, strongest)]
    block = strongest[0]
    return say(
        "heads.best", "headline", count=len(rows), sharpest=at[0], strongest=at[1],
        entropy=sharpest[1].entropy, norm=strongest[1].norm, layer=block.layer,
        head=strongest[1].head,
        query=labels(trace.prompt.of(block.stack).labels)[block.query],
    )  # fmt: skip


def _sinks(heads: "Sequence[HeadSummary]", first: Note) -> Say:
    """How many heads give most to the first token, and what that comes to."""
    sinks = [head for head in heads if head.first_share > _MOST]
    if not sinks:
        return say("heads.no_sinks", first=first)
    share, weighted = (
        float(np.mean([getattr(head, name) for head in sinks]))
        for name in ("first_share", "first_weighted_share")
    )
    known = [head.first_value for head in sinks if np.isfinite(head.first_value)]
    if not known or not np.isfinite(weighted):
        return say("heads.sinks_only", count=len(sinks), all=len(heads), first=first)
    return say(
        "heads.sinks_beside" if sunk(heads) else "heads.sinks",
        count=len(sinks), all=len(heads), first=first, share=share,
        value=float(np.median(known)), weighted=weighted,
    )  # fmt: skip


_MOST = 0.5

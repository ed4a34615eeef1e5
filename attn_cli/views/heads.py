"""The page of `attn heads`: every head as a small grid, then in numbers."""

from collections.abc import Sequence

import numpy as np

from attn_cli.analysis.heads import Heads
from attn_cli.notes import place
from attn_cli.records import Address, Trace
from attn_cli.views import numbers
from attn_cli.views.items import Column, Columns, Grids, Heading, Page, Say, say, what_ifs
from attn_cli.views.text import labels
from attn_cli.words import Note, note


def pages(trace: Trace, found: Sequence[Heads]) -> Page:
    """The page of each block, after one ranking of all their heads where there are several."""
    first = ranking(trace, found) if len(found) > 1 else []
    return [*first, *(item for one in found for item in page(trace, one))]


def page(trace: Trace, found: Heads) -> Page:
    """Headline, grids side by side, one summary row per head, where each query looks, the sum."""
    facts, block = trace.model, trace.block(found.layer, stack=found.stack, kind=found.kind)
    sides = trace.prompt.sides(found.stack, found.kind)
    names, keys = (labels(side.labels) for side in sides)
    heads, query, where = facts.heads_of(found.stack), names[found.query], place(facts, block)
    error = "NaN" if np.isnan(found.largest_error) else numbers.power(found.largest_error)
    return [
        Heading(facts, trace.prompt, where),
        *what_ifs(trace.settings),
        _headline(found, where, query, heads),
        Grids(names, [head.head for head in found.heads], found.weights, ~block.visible, keys),
        _summary(found, single=len(names) == 1),
        say("heads.what", query=query, output=found.output_norm),
        _looks(found, names, keys),
        say("heads.sum", error=error) if len(found.heads) == heads else say("heads.part"),
    ]


def ranking(trace: Trace, found: Sequence[Heads]) -> Page:
    """All heads of several blocks in one table, the strongest pull first."""
    rows = [(block, head) for block in found for head in block.heads]
    rows.sort(key=lambda row: (-np.nan_to_num(row[1].norm), row[0].layer, row[1].head))
    columns = [
        Column(note("heads.place"), [place(trace.model, block) for block, _ in rows], "left"),
        Column(note("column.head_number"), [str(head.head) for _, head in rows], "left"),
    ]
    for key in ("entropy", "first_share", "norm", "cosine"):
        columns.append(Column(note(f"heads.{key}"), [getattr(head, key) for _, head in rows]))
    queries = {labels(trace.prompt.of(b.stack).labels)[b.query]: None for b in found}
    return [
        Heading(trace.model, trace.prompt, note("heads.all")),
        *what_ifs(trace.settings),
        Columns(
            note("heads.ranking", query=" / ".join(f"`{query}`" for query in queries)),
            columns,
            "first",
        ),
    ]


def _headline(found: Heads, where: Note, query: str, all_heads: int) -> Say:
    """Names the sharpest and the strongest head, of those shown whose numbers are finite."""
    sharp = [head for head in found.heads if np.isfinite(head.entropy)]
    strong = [head for head in found.heads if np.isfinite(head.norm)]
    if not sharp or not strong:
        return say("heads.nothing", "headline", where=where)
    sharpest = min(sharp, key=lambda head: head.entropy)
    strongest = max(strong, key=lambda head: head.norm)
    left_out = all_heads - len(found.heads)
    key = (
        "heads.headline" if not left_out else "heads.some" if len(found.heads) > 1 else "heads.one"
    )
    if not strongest.norm:
        key = "heads.sharp"
    return say(
        key, "headline", where=where, query=query, norm=strongest.norm, left_out=left_out,
        sharpest=sharpest.head, entropy=sharpest.entropy, strongest=strongest.head,
        heads=", ".join(str(head.head) for head in found.heads), all=all_heads,
    )  # fmt: skip


def _summary(found: Heads, *, single: bool) -> Columns:
    """A `single` token has no previous one to look at, nor has a query among another stack's."""
    columns = [Column(note("column.head_number"), [str(h.head) for h in found.heads], "left")]
    at = Address(found.stack, found.kind, found.layer)
    for key in ("entropy", "first_share", "previous_share", "self_share", "norm", "cosine"):
        none = (single and key == "previous_share") or (at.crosses and key in _OF_ONE_STACK)
        cells = ["–" if none else getattr(head, key) for head in found.heads]
        columns.append(Column(note(f"heads.{key}"), cells, "right" if none else "number"))
    return Columns(note("heads.rows" if at.causal else "heads.rows_all"), columns)


_OF_ONE_STACK = ("previous_share", "self_share")


def _looks(found: Heads, names: list[str], keys: list[str]) -> Columns:
    """The most weighted key of each query, one column per head."""
    columns = [Column(note("column.query"), names, "left")]
    for head in found.heads:
        seen = [keys[key] for key in head.looks_at]
        columns.append(Column(note("column.head", head=head.head), seen, "left"))
    return Columns(note("heads.where"), columns, "last")

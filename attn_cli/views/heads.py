"""The page of `attn heads`: every head as a small grid, then in numbers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from attn_cli.notes import place
from attn_cli.records import Address, Trace
from attn_cli.views import numbers, sinks
from attn_cli.views.items import Column, Columns, Grids, Heading, Page, Say, say, what_ifs
from attn_cli.views.text import label, labels
from attn_cli.words import Note, note

if TYPE_CHECKING:
    from attn_cli.analysis.heads import Heads, HeadSummary


def page(trace: Trace, found: "Heads") -> Page:
    """Headline, grids side by side, one summary row per head, where each query looks, the sum."""
    facts, block = trace.model, trace.block(found.layer, stack=found.stack, kind=found.kind)
    sides = trace.prompt.sides(found.stack, found.kind)
    names, keys = (labels(side.labels) for side in sides)
    heads, query, where = facts.heads_of(found.stack), names[found.query], place(facts, block)
    split = split_off(trace, keys[:1], "heads.but_one")
    error = "NaN" if np.isnan(found.largest_error) else numbers.power(found.largest_error)
    return [
        Heading(facts, trace.prompt, where),
        *what_ifs(trace.settings),
        _headline(found, where, query, heads),
        *split,
        *grids(trace, found),
        _summary(found, single=len(names) == 1, split=bool(split)),
        say("heads.what", query=query, output=found.output_norm),
        *sinks_in(found.heads, split=bool(split)),
        _looks(found, names, keys),
        say("heads.sum", error=error) if len(found.heads) == heads else say("heads.part"),
    ]


def grids(trace: Trace, found: "Heads") -> list[Grids | Say]:
    """The kept weights of a layer's heads, and a sentence where a sink is one of the keys."""
    names, keys = (labels(side.labels) for side in trace.prompt.sides(found.stack, found.kind))
    heads = [head.head for head in found.heads]
    crosses = found.kind == "cross"
    item = Grids(names, heads, found.weights, ~found.visible, keys, crosses=crosses)
    return sinks.grids(item, found.sink_share)


def picture(trace: Trace, layers: "Sequence[Heads]") -> Page:
    """The weights of the heads of these layers, each named by its layer and number."""
    names = {trace.prompt.sides(one.stack, one.kind)[1].labels[0] for one in layers}
    said, found = [], []
    for one in layers:
        at = one.stack, one.kind, one.layer
        titles = [at_layer(trace, *at, head.head) for head in one.heads]
        (*sink, item) = grids(trace, one)
        said = sink or said
        if trace.settings.get("without_first"):
            hidden, keys = item.hidden[:, 1:], item.keys[1:]
            item = item._replace(weights=item.weights[..., 1:], hidden=hidden, keys=keys)
        found.append(item._replace(titles=titles))
    first = first_token([label(name) for name in names])
    split = [say("svg.split", first=first)] * bool(trace.settings.get("without_first"))
    where = place(trace.model, trace.block(at[2], stack=at[0], kind=at[1]))
    return [
        Heading(trace.model, trace.prompt, where if len(layers) == 1 else note("svg.layers")),
        *what_ifs(trace.settings),
        *split,
        *said,
        *found,
    ]


def at_layer(trace: Trace, stack: str, kind: str, layer: int, head: int) -> Note:
    """A head by its layer and number, and of which attention where a model has several."""
    which = f"_{stack}_{kind}" if trace.model.encoder else ""
    return note(f"heads.at{which}", layer=layer, head=head)


def _headline(found: "Heads", where: Note, query: str, all_heads: int) -> Say:
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


def split_off(trace: Trace, names: Sequence[str], others: str) -> Page:
    """What it means that the first token, of such names, is split off; nothing if it is not.

    `others` is the key of what is told of the whole all the same.
    """
    if not trace.settings.get("without_first"):
        return []
    return [say("heads.split", first=first_token(names), others=note(others))]


def first_token(names: Sequence[str]) -> Note:
    """The first token, by its name where it has but one."""
    one = len(set(names)) == 1
    return note("heads.token", first=names[0]) if one else note("heads.tokens")


SINK = ("sink_share",)


def sunk(heads: "Sequence[HeadSummary]") -> bool:
    """Whether a sink stands in the rows of any of these heads."""
    return any(not np.isnan(head.sink_share) for head in heads)


def sinks_in(heads: "Sequence[HeadSummary]", *, split: bool) -> list[Say]:
    """What a sink means for the numbers of heads; nothing where there is none."""
    return [say("heads.sink_split" if split else "heads.sink")] if sunk(heads) else []


def log_left(heads: "Sequence[HeadSummary]") -> Column:
    """What all keys but the first get, as a power of ten."""
    with np.errstate(divide="ignore"):
        return Column(note("heads.log_left"), [float(np.log10(h.rest_share)) for h in heads])


def _summary(found: "Heads", *, single: bool, split: bool) -> Columns:
    """A `single` token has no previous one to look at, nor has a query among another stack's."""
    columns = [Column(note("column.head_number"), [str(h.head) for h in found.heads], "left")]
    at = Address(found.stack, found.kind, found.layer)
    for key in ("entropy", "first_share", *SINK, "previous_share", "self_share", "norm", "cosine"):
        if key in SINK and not sunk(found.heads):
            continue
        none = (single and key == "previous_share") or (at.crosses and key in _OF_ONE_STACK)
        cells = ["–" if none else getattr(head, key) for head in found.heads]
        columns.append(Column(note(f"heads.{key}"), cells, "right" if none else "number"))
        if key == "first_share" and split:
            columns.append(log_left(found.heads))
    return Columns(note("heads.rows" if at.causal else "heads.rows_all"), columns)


_OF_ONE_STACK = ("previous_share", "self_share")


def _looks(found: "Heads", names: list[str], keys: list[str]) -> Columns:
    """The most weighted key of each query, one column per head."""
    columns = [Column(note("column.query"), names, "left")]
    for head in found.heads:
        seen = [keys[key] for key in head.looks_at]
        columns.append(Column(note("column.head", head=head.head), seen, "left"))
    return Columns(note("heads.where"), columns, "last")

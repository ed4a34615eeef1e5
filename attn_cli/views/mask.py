"""The page of `attn mask`: the mask as a picture, what it hides, and what moves."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from attn_cli import vocabulary
from attn_cli.notes import place
from attn_cli.records import Address, Facts, Trace
from attn_cli.views import numbers, sinks
from attn_cli.views.items import Column, Columns, Heading, Matrix, Page, Picture, Say, say, what_ifs
from attn_cli.views.text import label, labels, named
from attn_cli.words import Note, in_english, note

if TYPE_CHECKING:
    from attn_cli.analysis.mask import Cell, MaskEffect


_NOTHING = 1e-6


def page(trace: Trace, found: "MaskEffect", before: str, after: str) -> Page:
    """`before` and `after` name the two masks in words."""
    names, keys = (labels(s.labels) for s in trace.prompt.sides(found.stack, found.kind))
    at = Address(found.stack, found.kind, found.layer)
    where = place(trace.model, at)
    masks = {"before": named(before), "after": named(after)}
    items: Page = [
        Heading(trace.model, trace.prompt),
        *what_ifs(trace.settings),
        _headline(found, names, masks["after"]),
        say("mask.compared", "aside", **masks, where=where, head=found.head),
        *_may_see(trace.model, at),
        Picture(names, found.visible_before, found.visible_after, keys, at.crosses),
    ]
    changed = {"removed": found.removed, "added": found.added, "valued": found.valued}
    if at.causal and any(cell.key > cell.query for cells in changed.values() for cell in cells):
        items.append(say("mask.value_why" if found.valued else "mask.why"))
    items += [
        _cells(note(f"mask.{key}"), cells, names, keys) for key, cells in changed.items() if cells
    ]
    if found.valued:
        items.append(_shares(found, names))
    both = (
        ("before", found.weights_before, found.visible_before, found.sink_share_before),
        ("after", found.weights_after, found.visible_after, found.sink_share_after),
    )
    for when, weights, seen, share in both:
        title = note(f"mask.weights_{when}")
        item = Matrix(title, weights, names, keys, hidden=~seen, crosses=at.crosses)
        items.append(sinks.beside(item, share))
    items.append(_moved(found, names))
    return [*items, _next(trace, found)] if found.next_after and trace.next else items


def picture(trace: Trace, found: "MaskEffect", before: str, after: str) -> Page:
    """What of the page is a picture or said: the mask, and the weights before and after."""
    return without_columns(page(trace, found, before, after))


def without_columns(items: Page) -> Page:
    """The page without its tables of columns."""
    return [item for item in items if not isinstance(item, Columns)]


def names_of(settings: Mapping[str, Any], before: str) -> tuple[str, str]:
    """The two masks in words, of which the one before has been settled, in English."""
    value, own = settings["mask_value"], note("mask.own")
    known = (own, note("mask.none"), note("mask.value", value="−∞"))
    name = next((str(said) for said in known if in_english(said) == before), before)
    if value is not None:
        return name, str(note("mask.value", value=numbers.exact(value)))
    typed = " ".join(vocabulary.changes({"mask": settings["mask"]}))
    return name, typed or str(own)


def _may_see(facts: Facts, at: Address) -> Page:
    """What this kind of attention may see by itself, where that is known."""
    if facts.partial and not at.crosses:
        return []
    window = note("mask.may_window") if facts.windowed and not at.crosses else ""
    key = "cross" if at.crosses else at.stack
    return [say(f"mask.may_{key}", window=window)]


def _headline(found: "MaskEffect", names: list[str], after: str) -> Say:
    if found.valued:
        return _valued(found, names, after)
    if not found.removed and not found.added:
        return say("mask.same", "headline")
    gone, new = _all_or_nothing(found)
    # Half of the change counts, so that what moves is not counted twice; what vanishes moves whole.
    most = int(np.argmax(np.nan_to_num(np.where(gone | new, 1, found.moved))))
    key = "mask.vanishes" if gone[most] else "mask.appears" if new[most] else "mask.moves"
    key += "_sink" if gone[most] and found.sink_share_after.size else ""
    first = found.next_before[:1]
    later = [c.probability for b in first for c in found.next_after if c.id == b.id]
    moved, *chances = numbers.together(
        float(found.moved[most]), *(c.probability for c in first), *later
    )
    shown = {"removed": len(found.removed), "added": len(found.added)}
    shown |= {"cells": found.visible_before.size, "mask": after}
    effect = note(key, query=names[most], moved=moved)
    goes: object = ""  # where the model predicts nothing
    if first:
        now = {"token": label(first[0].text), "before": chances[0], "after": chances[1]}
        goes = note("mask.goes", **now)
    return say("mask.headline", "headline", **shown, effect=effect, goes=goes)


def _valued(found: "MaskEffect", names: list[str], value: str) -> Say:
    """What a number instead of −∞ lets through."""
    most = int(np.argmax(np.nan_to_num(found.hidden_share)))
    share = float(found.hidden_share[most])
    if share < _NOTHING:
        return say("mask.value_low", "headline", value=value)
    of_sink = float(found.sink_share_after[most]) if found.sink_share_after.size else 0.0
    hidden, left = numbers.together(share, 1 - share - of_sink)
    return say("mask.value_gets", "headline", value=value, query=names[most], share=hidden,
               left=left)  # fmt: skip


def _shares(found: "MaskEffect", names: list[str]) -> Columns:
    """Each query's weights over visible and hidden keys."""
    columns = [
        Column(note("column.query"), names, "left"),
        Column(note("mask.column_visible"), found.weights_after.sum(axis=-1) - found.hidden_share,
               "fine"),
        Column(note("mask.column_hidden"), found.hidden_share, "fine"),
        Column("", found.hidden_share, "bar"),
    ]  # fmt: skip
    if found.sink_share_after.size:
        columns.append(Column(sinks.NAME, found.sink_share_after, "fine"))
    return Columns(note("mask.shares"), columns)


def _all_or_nothing(found: "MaskEffect") -> tuple[np.ndarray, np.ndarray]:
    """Which queries see no key any more, and which saw none before."""
    before, after = found.visible_before.any(axis=1), found.visible_after.any(axis=1)
    return before & ~after, after & ~before


def _cells(title: Note, cells: "Sequence[Cell]", names: list[str], keys: list[str]) -> Columns:
    columns = (
        Column(note("column.query"), [names[cell.query] for cell in cells], "left"),
        Column(note("column.key"), [keys[cell.key] for cell in cells], "left"),
        Column("scaled", [cell.scaled for cell in cells]),
        Column("masked", [cell.masked for cell in cells]),
        Column(note("mask.column_weight"), [cell.weight for cell in cells], "fine"),
        Column(note("column.after"), [cell.weight_after for cell in cells], "fine"),
    )
    return Columns(title, columns, "first")


def _moved(found: "MaskEffect", names: list[str]) -> Columns:
    gone, new = _all_or_nothing(found)
    moved = [numbers.Number(share, found.moved, 0) for share in found.moved.tolist()]
    for where, word in ((gone, note("mask.gone")), (new, note("mask.new"))):
        moved = [word if here else cell for here, cell in zip(where, moved, strict=True)]
    columns = (
        Column(note("column.query"), names, "left"),
        Column(note("mask.column_moved"), moved, "right"),
        Column("", np.where(gone | new, 1, found.moved), "bar"),
        Column(note("mask.column_change"), found.output_change),
        Column(note("mask.column_length"), found.output_norm),
    )
    return Columns(note(f"mask.moved{'_sink' if found.sink_share_after.size else ''}"), columns)


def _next(trace: Trace, found: "MaskEffect") -> Columns:
    """The likeliest of both lists, by their rank after."""
    before = {candidate.id: candidate.probability for candidate in found.next_before}
    rows = found.next_after
    after = [c.probability for c in rows]
    columns = (
        Column(note("column.token"), [label(c.text) for c in rows], "left"),
        Column(note("mask.column_before"), [before[c.id] for c in rows], "fine"),
        Column(note("column.after"), after, "fine"),
        Column("", after, "bar"),
    )
    query = labels(trace.prompt.last.labels)[trace.next[0].position]
    what = note("next.mask", query=query) if trace.model.masked else note("next.next")
    return Columns(note("mask.next", what=what), columns)

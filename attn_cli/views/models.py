"""The pages of `attn models`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attn_cli.errors import size
from attn_cli.records import Facts
from attn_cli.views import inside, numbers
from attn_cli.views.ending import mixed
from attn_cli.views.items import Column, Columns, Heading, Page, say
from attn_cli.views.text import named
from attn_cli.words import Note, note

if TYPE_CHECKING:
    from attn_cli.opening.listing import Contents, Listed, Listing


def listing(found: "Listing") -> Page:
    """What opens by name, one table for each place; then what does not, and why."""
    items: Page = []
    for place in dict.fromkeys(row.place for row in found.models):
        rows = [row for row in found.models if row.place == place]
        opening = [row for row in rows if row.opens]
        title = f"models.{place}"
        items.append(_opening(note(title), opening) if opening else say(title, "title"))
        for row in rows:
            if not row.opens:
                family = f" ({named(row.family)})" if row.family else ""
                words = {"name": named(row.name), "reason": named(row.reason)}
                items.append(say("models.broken", family=family, **words))
    folders = ", ".join(map(named, found.folders))
    return [*items, say("models.looked", folders=folders), say("models.folder")]


def _opening(title: Note, rows: "Sequence[Listed]") -> Columns:
    sizes = [size(row.bytes) if row.bytes else "–" for row in rows]
    counts = [numbers.count(n) if (n := row.parameters) else note("models.any") for row in rows]
    columns = [
        Column(note("column.name"), [named(row.name) for row in rows], "left"),
        Column(note("models.family"), [row.family for row in rows], "left"),
        Column(note("models.parameters"), counts, "right"),
        Column(note("models.size"), sizes, "right"),
        Column(note("models.quantisation"), [row.quantisation or "–" for row in rows], "left"),
    ]
    if any(row.remark for row in rows):
        remarks = [note(f"models.{row.remark}") if row.remark else "" for row in rows]
        columns.append(Column("", remarks, "left"))
    return Columns(title, columns)


def contents(model: Facts, found: "Contents") -> Page:
    """One checkpoint: the model in numbers, its parts and its tensors."""
    names = [*(named(part.name) for part in found.parts), note("models.total")]
    counts = [*(part.parameters for part in found.parts), found.parameters]
    sizes = [*(part.bytes for part in found.parts), found.bytes]
    parts = (
        Column(note("models.part"), names, "left"),
        Column(note("models.parameters"), list(map(numbers.count, counts)), "right"),
        Column(note("models.size"), list(map(size, sizes)), "right"),
    )
    shapes = [" × ".join(str(n) for n in tensor.shape) for tensor in found.tensors]
    tensors = (
        Column(note("column.name"), [named(tensor.name) for tensor in found.tensors], "left"),
        Column(note("models.dtype"), [tensor.dtype for tensor in found.tensors], "left"),
        Column(note("models.shape"), shapes, "left"),
    )
    return [
        Heading(model),
        *([say("models.mixed", **mixed(model))] if model.mixers else []),
        inside.table(model, found.config),
        Columns(note("models.parts"), parts),
        Columns(note("models.tensors"), tensors),
        say("models.tokens", size=numbers.count(found.tokens)),
    ]

"""The page of `attn compare` with two results of scans: which heads have moved most."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from attn_cli.records import Facts
from attn_cli.views import csv, numbers
from attn_cli.views.items import Column, Columns, Heading, Page, Say, say
from attn_cli.views.scan import at, name_of, squares
from attn_cli.views.text import named
from attn_cli.words import Note, grouped, note

if TYPE_CHECKING:
    from attn_cli.scanning.compare import Shift, Shifts

_SMALL, _LARGE = 0.2, 0.8  # that Cohen calls so


def page(model: Facts, found: "Shifts") -> Page:
    """The answer in words, what differs between the two, and every shift."""
    return [
        Heading(model, None, note("compare.left")),
        Heading(found.right.model, None, note("compare.right")),
        *_headline(model, found),
        *_differs(found),
        _table(model, found),
        say("shifts.what"),
        *_others(found),
    ]


def picture(model: Facts, found: "Shifts") -> Page:
    """The largest size of each head, of each attention a square of layers and heads."""
    items: Page = [Heading(model), *_headline(model, found)]
    largest: dict[tuple[str, str, int, int], float] = {}
    for one in found.shifts:  # the largest first
        largest.setdefault(one[:4], abs(one.size))
    return [*items, *squares(model, largest, "shifts.picture")]


def written(
    kind: str, model: Facts, found: "Shifts", notes: Sequence[Note] = ()
) -> Iterator[bytes]:
    """What has moved in a format that has a row for each mean."""
    if kind == "csv":
        return csv.table(found.shifts[0]._fields, found.shifts)
    from attn_cli.views.scan_html import shifts

    return shifts.render(model, found, notes)


def differing(found: "Shifts") -> list[list[str]]:
    """What is not the same, of A and of B."""
    return [[named(cell) or "–" for cell in row] for row in found.differs]


def _headline(model: Facts, found: "Shifts") -> list[Say]:
    """The largest shift of all, and how many are how large."""
    first = found.shifts[0]
    moved = [one for one in found.shifts if one.difference]
    if not moved:
        return [say("shifts.none", "headline", count=len(found.shifts))]
    left, right = numbers.together(first.left, first.right)
    said = {"head": at(model, first), "measure": name_of(first.measure), "left": left,
            "right": right}  # fmt: skip
    key = "shifts.constant" if np.isnan(first.size) else "shifts.headline"
    sizes = [abs(one.size) for one in found.shifts]
    counts = [sum(not size < least for size in sizes) for least in (_SMALL, _LARGE)]
    return [
        say(key, "headline", **said, size=first.size),
        say("shifts.counts", all=f"{len(sizes):,}", small=f"{counts[0]:,}", large=f"{counts[1]:,}"),
    ]  # fmt: skip


def _differs(found: "Shifts") -> Page:
    if not found.differs:
        return [say("shifts.same")]
    told = differing(found)
    names = (note("shifts.setting"), note("compare.column_a"), note("compare.column_b"))
    columns = [Column(name, list(cells), "left")
               for name, cells in zip(names, zip(*told, strict=True), strict=True)]  # fmt: skip
    return [Columns(note("shifts.differs"), columns)]


def _table(model: Facts, found: "Shifts") -> Columns:
    some = found.shifts
    columns = [
        Column(note("column.head_number"), [at(model, one) for one in some], "left"),
        Column(note("scan.measure"), [name_of(one.measure) for one in some], "left"),
        Column(note("shifts.size"), [_size(one) for one in some], "right"),
        Column(note("compare.column_a"), [one.left for one in some], "fine"),
        Column(note("compare.column_b"), [one.right for one in some], "fine"),
        Column(note("compare.column_change"), [one.difference for one in some], "fine"),
    ]
    return Columns(note("shifts.ranking"), columns, "first")


def _size(one: "Shift") -> object:
    return "–" if np.isnan(one.size) else numbers.Number(one.size, [1.0])


def _others(found: "Shifts") -> Page:
    """Heads that only one result has."""
    counts = {"only_left": found.only_left, "only_right": found.only_right}
    return [
        say(f"shifts.{name}", heads=grouped(count, "shifts.heads_one", "shifts.heads_many"))
        for name, count in counts.items() if count
    ]  # fmt: skip

"""The page of one head of a scan: how its measures are spread, and its examples of one of them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from attn_cli import vocabulary
from attn_cli.records import Facts
from attn_cli.views import numbers
from attn_cli.views.items import Column, Columns, Grids, Heading, Page, say, what_ifs
from attn_cli.views.scan import at, name_of, of, pairs, token, where
from attn_cli.views.text import label, labels
from attn_cli.words import Note, grouped, note

if TYPE_CHECKING:
    from attn_cli.scanning.again import Again
    from attn_cli.scanning.results import Example, Head, Scan, Text

_SPREAD = ("minimum", "p05", "p25", "p50", "p75", "p95", "maximum")
_AROUND = 6  # tokens before and after an example's query that are told


def page(
    model: Facts, found: "Scan", head: "Head", settings: Mapping[str, Any],
    drawn: "Sequence[Again]", why: Note | None,
) -> Page:  # fmt: skip
    """The head's numbers, its examples, and their attention as far as it is `drawn`; `why` says
    why it is not."""
    column = settings["sort"]
    return [
        *_head(model, found, head, settings),
        _spread(head),
        *_told(model, found, head, column),
        *([say("scan.not_drawn", why=why)] if why else _drawn(model, found, head, drawn)),
        *pairs(model, head),
    ]


def picture(
    model: Facts, found: "Scan", head: "Head", settings: Mapping[str, Any], drawn: "Sequence[Again]"
) -> Page:
    """The attention of the examples alone."""
    return [*_head(model, found, head, settings), *_drawn(model, found, head, drawn)]


def _head(model: Facts, found: "Scan", head: "Head", settings: Mapping[str, Any]) -> Page:
    column = settings["sort"]
    one = of(head, column)
    mean, deviation = numbers.together(one.mean, one.deviation)
    queries = grouped(one.count, "scan.queries_one", "scan.queries_many")
    said = {"head": at(model, head), "column": column, "queries": queries}
    headline = say("scan.head", "headline", mean=mean, deviation=deviation, **said)
    none = say("scan.head_none", "headline", **said)
    return [Heading(model), *what_ifs(settings), headline if one.count else none]


def _spread(head: "Head") -> Columns:
    """A row for each measure."""
    rows = [one for one in head.measures if one.count]
    found = [
        Column(note("scan.measure"), [name_of(one.measure) for one in rows], "left"),
        Column(note("scan.count"), [f"{one.count:,}" for one in rows], "right"),
    ]
    for name in ("mean", "deviation", *_SPREAD):
        cells = [numbers.Number(getattr(one, name), [one.maximum, 1.0]) for one in rows]
        found.append(Column(note(f"scan.{name}"), cells, "right"))
    return Columns(note("scan.spread"), found)


def _told(model: Facts, found: "Scan", head: "Head", column: str) -> Page:
    """Where the examples are, with the tokens around their queries."""
    rows = [(one, found.texts[one.text]) for one in of(head, column).examples]
    if not rows:
        return [say("scan.no_examples", column=column)]
    return [Columns(note("scan.examples", head=at(model, head)), [
        Column(name_of(vocabulary.SCAN_COLUMNS[column]), [one.value for one, _ in rows]),
        *where(model, head, rows),
        Column(note("scan.around"), [_around(model, head, *row) for row in rows], "left"),
    ])]  # fmt: skip


def _around(model: Facts, head: "Head", one: "Example", text: "Text") -> str:
    """The tokens around a query, which stands in brackets; nothing where they are not known."""
    if model.encoder and head.stack == "decoder":
        return ""
    first, last = max(0, one.query - _AROUND), one.query + _AROUND + 1
    told = [f"[{label(word)}]" if first + i == one.query else label(word)
            for i, word in enumerate(text.tokens[first:last])]  # fmt: skip
    return " ".join(["…"] * (first > 0) + told + ["…"] * (last < len(text.tokens)))


def _drawn(model: Facts, found: "Scan", head: "Head", drawn: "Sequence[Again]") -> Page:
    items: Page = [say("scan.drawn")] if drawn else []
    for one in drawn:
        text = found.texts[one.example.text]
        title = note(
            "scan.example", value=numbers.number(one.example.value), line=text.line,
            query=token(model, head, text, "query", one.example.query),
            key=token(model, head, text, "key", one.example.key),
        )  # fmt: skip
        weights = np.asarray(one.weights)[None]
        items.append(
            Grids(
                labels(one.names), [head.head], weights, one.hidden, labels(one.key_names), [title]
            )
        )
    return items

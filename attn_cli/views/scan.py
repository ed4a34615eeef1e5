"""The page of `attn scan`: all heads in one ranking, each number with its spread."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from attn_cli import vocabulary
from attn_cli.records import Facts
from attn_cli.views.items import Column, Columns, Heading, Page, Say, say, what_ifs
from attn_cli.views.text import label, visible
from attn_cli.words import Note, counted, grouped, note

if TYPE_CHECKING:
    from attn_cli.scanning.results import Head, Measure, Scan

_SPREAD = ("deviation", "p05", "p50", "p95")
_FOUND = 3  # examples that are told


def page(model: Facts, found: "Scan", settings: Mapping[str, Any]) -> Page:
    """Headline, the ranking, and where the first head's best examples are."""
    column = settings["sort"]
    heads = ranked(found, column)
    return [
        Heading(model),
        *what_ifs(settings),
        _headline(found),
        Columns(_title(column), _columns(model, heads, column), "first"),
        say("scan.what"),
        *_examples(model, found, heads[0], column),
        *(_pairs(model, heads[0]) if heads[0].pairs else ()),
    ]


def ranked(found: "Scan", column: str) -> list["Head"]:
    """The heads in the order of the mean of a measure, last those that have none."""
    sign = 1 if column in vocabulary.SMALLEST_FIRST else -1

    def key(head: "Head") -> tuple[bool, float]:
        mean = of(head, column).mean
        return bool(np.isnan(mean)), sign * float(np.nan_to_num(mean))

    return sorted(found.heads, key=key)


def of(head: "Head", column: str) -> "Measure":
    """A head's measure, by its column. Raises ValueError where it has none."""
    name = vocabulary.SCAN_COLUMNS[column]
    for one in head.measures:
        if one.measure == name:
            return one
    raise ValueError


def _headline(found: "Scan") -> Say:
    return say(
        "scan.headline", "headline", heads=len(found.heads),
        prompts=grouped(found.prompts, "scan.prompts_one", "scan.prompts_many"),
        tokens=grouped(found.tokens, "page.tokens_one", "page.tokens_many"),
        files=counted(found.files, "scan.files_one", "scan.files_many"),
    )  # fmt: skip


def _title(column: str) -> Note:
    smallest = column in vocabulary.SMALLEST_FIRST
    order = note("heads.smallest" if smallest else "heads.largest")
    return note("scan.ranking", column=column, order=order)


def _columns(model: Facts, heads: Sequence["Head"], column: str) -> list[Column]:
    """What heads are ranked by first, with its spread, then the means of the others."""
    names = [at(model, head) for head in heads]
    ranked_by = [of(head, column) for head in heads]
    own = vocabulary.SCAN_COLUMNS[column]
    columns = [
        Column(note("column.head_number"), names, "left"),
        _numbers(_name(own), [one.mean for one in ranked_by]),
        *(_numbers(note(f"scan.{name}"), [getattr(one, name) for one in ranked_by])
          for name in _SPREAD),
    ]  # fmt: skip
    for place, one in enumerate(heads[0].measures):
        means = [head.measures[place].mean for head in heads]
        if one.measure != own and not np.isnan(means).all():
            columns.append(_numbers(_name(one.measure), means))
    return columns


def _numbers(header: Note, numbers: Sequence[float]) -> Column:
    return Column(header, list(map(float, numbers)))


def _name(measure: str) -> Note:
    return note("scan.effective_keys" if measure == "effective_keys" else f"heads.{measure}")


def at(model: Facts, head: "Head") -> Note:
    """A head by its layer and number, and of which attention where a model has several."""
    which = f"_{head.stack}_{head.kind}" if model.encoder else ""
    return note(f"heads.at{which}", layer=head.layer, head=head.head)


def _examples(model: Facts, found: "Scan", head: "Head", column: str) -> Page:
    """Where the best examples of the first head are."""
    examples = of(head, column).examples[:_FOUND]
    if not examples:
        return []
    texts = [found.texts[one.text] for one in examples]
    rows = list(zip(examples, texts, strict=True))
    return [Columns(note("scan.examples", head=at(model, head)), [
        Column(_name(vocabulary.SCAN_COLUMNS[column]), [one.value for one in examples]),
        Column(note("scan.query"), [label(text.tokens[one.query]) if one.query < len(text.tokens)
                                    else str(one.query) for one, text in rows], "left"),
        Column(note("scan.line"), [str(text.line) for text in texts], "right"),
        Column(note("scan.file"), [visible(text.file) for text in texts], "left"),
    ])]  # fmt: skip


def _pairs(model: Facts, head: "Head") -> Page:
    return [Columns(note("scan.pairs", head=at(model, head)), [
        Column(note("scan.query"), [label(one.query) for one in head.pairs], "left"),
        Column(note("scan.key"), [label(one.key) for one in head.pairs], "left"),
        Column(note("scan.count"), [f"{one.count:,}" for one in head.pairs], "right"),
    ])]  # fmt: skip

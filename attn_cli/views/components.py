"""The page of `attn why --by component`: who wrote a score, or a logit."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from attn_cli.notes import place, writer
from attn_cli.records import Address, Facts, Prompt
from attn_cli.views import numbers
from attn_cli.views.ending import mixed
from attn_cli.views.items import (
    Column,
    Columns,
    Heading,
    Page,
    Say,
    Words,
    paragraph,
    say,
    what_ifs,
)
from attn_cli.views.text import label, labels
from attn_cli.views.why import bracketed, shown_rows
from attn_cli.views.workings import Sheet, total
from attn_cli.words import Note, counted, note

if TYPE_CHECKING:
    from attn_cli.analysis.attribution import Attribution
    from attn_cli.analysis.components import Chain, Components, Wrote

Items = Iterator[NamedTuple]
_ROUNDING = 1e-12  # of the largest
_MOST = 10  # lines of a table, unless the page is full


def page(
    model: Facts,
    prompt: Prompt,
    found: "Chain",
    settings: Mapping[str, Any],
    digits: int,
    full: bool,
) -> Page:
    """One cell, and those that it was followed back to."""
    first = found.cells[0]
    where = note("page.head", where=_layer(model, first), head=first.head)
    items: Page = [Heading(model, prompt, where), *what_ifs(settings)]
    for step, cell in enumerate(found.cells):
        sides = prompt.sides(cell.stack, cell.kind)
        query, key = (labels(side.labels)[at] for side, at in
                      zip(sides, (cell.query, cell.key), strict=True))  # fmt: skip
        if step:
            before = note("page.head", where=_layer(model, cell), head=cell.head)
            items.append(say("why.back", "block", where=before, query=query))
        items += _cell(model, cell, query, key, Sheet(digits), full, first=not step)
    return items


def _mixers(model: Facts) -> list[Say]:
    """That what stands in place of attention writes too."""
    return [say("why.split_mixed", others=mixed(model)["others"])] if model.mixers else []


def _names(rows: "Sequence[Wrote]") -> list[Words]:
    return [_named(one) for one in rows]


def _named(one: "Wrote") -> Note:
    return writer(one.kind, one.layer, one.head)


def _layer(model: Facts, cell: "Components") -> Words:
    return place(model, Address(cell.stack, cell.kind, cell.layer))


def _cell(
    model: Facts, cell: "Components", query: str, key: str, sheet: Sheet, full: bool, *, first: bool
) -> Items:
    for name in ("value", "mean", "advantage"):
        sheet.put(name, getattr(cell, name))
    if cell.others:
        sheet.rule("advantage", "value", "mean", by=lambda a, b: a - b)
    goal = "advantage" if cell.others else "value"
    named = {one.writer: _named(one) for one in (*cell.by_key, *cell.by_query)}
    tables = [
        Sums("key", _names(cell.by_key), cell.by_key, goal),
        Sums("query", _names(cell.by_query), cell.by_query,
             goal),
        Sums("pair", [note("why.pair", query=named[pair.query_writer], key=named[pair.key_writer])
                      for pair in cell.pairs], cell.pairs, goal, cell.remainder),
    ]  # fmt: skip
    for table in tables:
        table.fill(sheet, full)
    words = {"query": query, "key": key}
    if not math.isfinite(cell.advantage):
        yield say("why.split_nan", "headline", **words)
        return
    yield _headline(cell, sheet, words, tables[0].count(full))
    words["value"] = sheet.text("value")
    if first:
        more = [say("why.split_clipped")] * bool(model.clipped)
        latents = "why.split_latents" if model.q_latent else "why.split_latent"
        more += [say(latents)] * bool(model.kv_latent)
        yield paragraph(say("why.split"), *more, *_mixers(model))
    biased = any(one.kind == "position_bias" for one in cell.by_key)
    form = "cap" if cell.soft_cap else "bias" if biased else "plain"
    yield say(f"why.value_{form}", **words)
    if cell.others:
        yield say("why.advantage", **words, mean=bracketed(sheet.text("mean")),
                  advantage=sheet.text("advantage"))  # fmt: skip
    of_key = "why.by_key" if cell.others else "why.by_key_alone"
    titles = {"key": note(of_key, key=key), "query": note("why.by_query", query=query),
              "pair": note("why.by_pair")}  # fmt: skip
    for table in tables:
        yield table.columns(sheet, full, titles[table.name])
    small = abs(cell.value) < 1  # then the error is not relative
    yield say("why.reconstructed_small" if small else "why.reconstructed",
              error=numbers.power(cell.error))  # fmt: skip


def _headline(cell: "Components", sheet: Sheet, words: Mapping[str, object], shown: int) -> Say:
    """Names what wrote most of the advantage, of the `shown` lines of the first table."""
    best = _strongest(cell.by_key[:shown], cell.advantage)
    text = {"writer": _named(cell.by_key[best]), "added": sheet.text(f"key:{best}")}
    if not cell.others:
        key = "why.split_alone" if cell.visible else "why.split_blind"
        return say(key, "headline", **words, **text)
    gives = note("why.gives" if cell.visible else "why.gives_hidden", **words,
                 weight=numbers.number(cell.weight))  # fmt: skip
    others = counted(cell.others, "why.mean_one", "why.mean_many")
    apart = sheet.text("advantage").removeprefix("−")
    key = "why.split_above" if cell.advantage >= 0 else "why.split_below"
    return say(key, "headline", **text, gives=gives, others=others, advantage=apart)


def _strongest(rows: "Sequence[Wrote]", total: float) -> int:
    """The place of the part that is largest in the direction of the total."""
    return max(range(len(rows)), key=lambda i: math.copysign(1, total) * rows[i].value)


class Sums(NamedTuple):
    """A table of what is added, of which the figure `goal` is the sum; `rest` is what the rows
    leave out."""

    name: str
    names: Sequence[Words]
    rows: Sequence[Any]
    goal: str
    rest: float = 0.0

    def count(self, full: bool) -> int:
        return len(self.rows) if full else shown_rows(len(self.rows), _MOST, full)

    def fill(self, sheet: Sheet, full: bool) -> None:
        count, group = self.count(full), f"{self.name}:added"
        for i, row in enumerate(self.rows[:count]):
            sheet.put(f"{self.name}:{i}", self._rounded(row.value), group)
        rest = math.fsum(row.value for row in self.rows[count:]) + self.rest
        sheet.put(f"{self.name}:rest", self._rounded(rest), group)
        parts = (f"{self.name}:{i}" for i in range(count))
        sheet.rule(self.goal, *parts, f"{self.name}:rest", by=total)

    def _rounded(self, value: float) -> float:
        """What is the same in every key leaves only rounding of its mean: 0."""
        least = _ROUNDING * abs(self.rows[0].value) if self.rows else 0.0
        return 0.0 if abs(value) <= least else value

    def columns(self, sheet: Sheet, full: bool, title: Words) -> Columns:
        count = self.count(full)
        names, left = list(self.names[:count]), len(self.rows) - count
        cells = [sheet.text(f"{self.name}:{i}") for i in range(count)]
        rest = self._rounded(self.rest)
        if left or rest:
            names.append(note("why.others", count=left) if left and not rest
                         else note("why.all_others"))  # fmt: skip
            cells.append(sheet.text(f"{self.name}:rest"))
        names.append("Σ")
        cells.append(sheet.text(self.goal))
        columns = (Column(note(f"why.column_{self.name}"), names, "left"),
                   Column(note("why.column_adds"), cells, "right"))  # fmt: skip
        return Columns(title, columns)


def logit_page(
    model: Facts, prompt: Prompt, found: "Attribution", settings: Mapping[str, Any], digits: int,
    full: bool,
) -> Page:  # fmt: skip
    """What each writer adds to a token's logit."""
    sheet = Sheet(digits)
    sheet.put("logit", found.total)
    table = Sums("part", _names(found.by), found.by, "logit")
    table.fill(sheet, full)
    query, token = labels(prompt.last.labels)[found.position], label(found.token, 24)
    words = {"query": query, "token": token, "logit": sheet.text("logit"), "parts": len(found.by)}
    head: Page = [Heading(model, prompt), *what_ifs(settings)]
    if not math.isfinite(found.total):
        return [*head, say("why.logit_nan", "headline", **words)]
    best, cap = _strongest(found.by[: table.count(full)], found.total), f"{found.soft_cap:g}"
    norms = note("why.norms_all" if model.residual == "normed" else "why.norms_last")
    capped = [say("why.logit_capped", cap=cap, value=found.logit, **words)] * bool(found.soft_cap)
    return [
        *head,
        say("why.logit_headline", "headline", **words, writer=_named(found.by[best]),
            added=sheet.text(f"part:{best}")),
        paragraph(say("why.logit_split", norms=norms), *_mixers(model)),
        *capped,
        table.columns(sheet, full, note("why.by_part", token=token, query=query)),
        say("why.logit_error", error=numbers.power(found.error)),
    ]  # fmt: skip

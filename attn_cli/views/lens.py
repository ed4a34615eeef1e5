"""The page of `attn lens`: what each layer would predict, and what adds up to a logit."""

import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from attn_cli.notes import writer
from attn_cli.records import Facts, Prompt
from attn_cli.views import numbers
from attn_cli.views.items import Column, Columns, Heading, Matrix, Page, Say, Words, say, what_ifs
from attn_cli.views.numbers import Number
from attn_cli.views.text import label, labels
from attn_cli.words import Note, note

if TYPE_CHECKING:
    from attn_cli.analysis.lens import Lens, LensPosition, LensRow

_LIMIT = 24  # characters of a token
_NARROW = 12
_ADDED = ("attention", "cross", "mlp")
_SUMMED = ("embedding", *_ADDED, "biases")


def page(
    model: Facts, prompt: Prompt, found: "Lens", settings: Mapping[str, Any] = MappingProxyType({})
) -> Page:
    """One position layer by layer, or several side by side."""
    head: Page = [Heading(model, prompt), *what_ifs(settings)]
    names = labels(prompt.last.labels)
    if len(found.positions) == 1:
        (one,) = found.positions
        return [*head, *_single(model, one, names[one.position])]
    return [*head, *_several(model, found, names, watched=settings.get("watch") is not None)]


def _single(model: Facts, one: "LensPosition", query: str) -> Iterator[Any]:
    rows = one.rows
    token = label(rows[-1].watched.text, _LIMIT)
    yield _headline(model, one, query, token)
    yield _what(model, note("lens.vector", query=query))
    yield _likeliest(rows)
    yield from _watched(model, one, token)
    if one.parts:
        yield from _per_head(model, one, token)


def _headline(model: Facts, one: "LensPosition", query: str, token: str) -> Say:
    last = one.rows[-1]
    watched, best, mask = last.watched, last.candidates[0], "_mask" if model.masked else ""
    if not math.isfinite(watched.logit):
        return say("lens.nan", "headline", broken=1, count=1)
    probability, chance = numbers.together(watched.probability, best.probability)
    shown = {"token": token, "probability": probability}
    if watched.rank == 1:
        since = _since(one.rows)
        key = "last" if since == last.layer else "since"
        return say(f"lens.{key}{mask}", "headline", query=query, since=_row(since), **shown)
    first = min(one.rows, key=lambda row: row.watched.rank)
    where = note("lens.after", where=_row(first.layer))
    return say(
        "lens.place", "headline", rank=watched.rank, best=label(best.text, _LIMIT), chance=chance,
        first=first.watched.rank, where=note("lens.before") if first.layer < 0 else where, **shown,
    )  # fmt: skip


def _since(rows: "Sequence[LensRow]") -> int:
    """The layer from which on the watched token is first."""
    later = [row.layer for row in rows if row.watched.rank > 1]
    return max(later, default=-2) + 1


def _row(layer: int) -> Note:
    return note("lens.embedding") if layer < 0 else note("page.layer", layer=layer)


def _what(model: Facts, vectors: Note) -> Say:
    """What a lens is."""
    way = "_head" if model.transform else "_norm" if model.last_norm else ""
    return say("lens.what", vectors=vectors, way=note(f"lens.way{way}"))


def _after(rows: "Sequence[LensRow]") -> Column:
    return Column(note("column.after"), [_row(row.layer) for row in rows], "left")


def _likeliest(rows: "Sequence[LensRow]") -> Columns:
    columns = [_after(rows)]
    for place, _ in enumerate(rows[-1].candidates):
        found = [row.candidates[place] for row in rows]
        columns.append(Column(str(place + 1), [label(c.text) for c in found], "left"))
        columns.append(Column("", [c.probability for c in found], "fine"))
    return Columns(note("lens.likeliest"), columns)


def _watched(model: Facts, one: "LensPosition", token: str) -> Iterator[Any]:
    """The watched token through the layers, and what adds up to its last logit."""
    rows = one.rows
    there = [n for n in _ADDED if not all(math.isnan(getattr(row, n)) for row in rows)]
    if there:
        yield _split(model, token, crosses="cross" in there)
    columns = [
        _after(rows),
        Column(note("lens.rank"), [numbers.count(row.watched.rank) for row in rows], "right"),
        Column(note("column.probability"), [row.watched.probability for row in rows], "fine"),
        Column(note("column.logit"), [row.watched.logit for row in rows]),
    ]
    values = [getattr(row, name) for row in rows for name in there]
    for name in there:
        header = note("lens.cross_column" if name == "cross" else _key(model, name))
        cells = [_number(getattr(row, name), values) for row in rows]
        columns.append(Column(header, cells, "right"))
    yield Columns(note("lens.watched_parts" if there else "lens.watched", token=token), columns)
    if there:
        yield _sum(model, one)


def _key(model: Facts, name: str) -> str:
    """What a column is called; what stands in place of attention is counted with the network."""
    return "lens.mlp_mixed" if name == "mlp" and model.mixers else f"lens.{name}"


def _number(value: float, beside: Sequence[float]) -> Words | Number:
    """A number among others; what there is not is left empty."""
    return "" if math.isnan(value) else Number(value, beside, 0)


def _split(model: Facts, token: str, *, crosses: bool) -> Say:
    all_norms = model.residual != "added"
    frozen: Words = ""
    if all_norms or model.last_norm:
        norms = note("lens.norms_all" if all_norms else "lens.norms_last")
        frozen = note(f"lens.frozen_{model.norm}", norms=norms)
    kind = "_cross" if crosses else "_mixed" if model.mixers else ""
    parts = note(f"lens.parts{kind}")
    own = note("lens.own") if model.last_norm else ""
    return say("lens.added", token=token, parts=parts, frozen=frozen, own=own)


def _sum(model: Facts, one: "LensPosition") -> Say:
    """The terms of the logit and what they come to."""
    terms = {name: getattr(one.sum, name) for name in _SUMMED}
    terms = {name: value for name, value in terms.items() if not math.isnan(value)}
    logit = one.rows[-1].watched.logit
    *values, total, capped = numbers.together(*terms.values(), one.sum.total, logit)
    said = [
        note("lens.term", name=note(_key(model, name)), value=value)
        for name, value in zip(terms, values, strict=True)
    ]
    whole: Words = said[-1]
    for term in said[-2::-1]:
        whole = note("lens.terms", first=term, rest=whole)
    shown = {"terms": whole, "total": total, "logit": capped}
    key = "lens.sum_capped" if model.logit_cap else "lens.sum"
    cap = f"{model.logit_cap:g}"
    return say(key, **shown, cap=cap, error=numbers.power(one.sum.error))


def _per_head(model: Facts, one: "LensPosition", token: str) -> Iterator[Any]:
    """Each head of each layer, then the parts of any kind that matter most."""
    for kind in ("head", "cross_head"):
        found = [part for part in one.parts if part.kind == kind]
        if found:
            attending = model.attending(model.stack)
            values = np.array([part.logit for part in found]).reshape(len(attending), -1)
            layers = [_row(layer) for layer in attending]
            title, axes = note(f"lens.{kind}s", token=token), note("lens.heads_axes")
            heads = [note("column.head", head=head) for head in range(values.shape[1])]
            elided = note("lens.heads_elided")
            yield Matrix(title, values, layers, heads, axes, elided=elided)
    strongest = sorted(one.parts, key=lambda part: -abs(np.nan_to_num(part.logit)))
    names = [writer(part.kind, part.layer, part.head) for part in strongest]
    columns = [
        Column(note("lens.part"), names, "left"),
        Column(note("lens.adds"), [part.logit for part in strongest]),
    ]
    yield Columns(note("lens.strongest", count=len(one.parts)), columns, "first")


# --- several positions ---------------------------------------------------------------------------


def _several(model: Facts, found: "Lens", names: Sequence[str], *, watched: bool) -> Iterator[Any]:
    """A column for each position, a row for each layer; then what adds up at each."""
    positions = found.positions
    token = label(positions[0].rows[-1].watched.text, _LIMIT)
    broken = sum(not math.isfinite(p.rows[-1].watched.logit) for p in positions)
    if broken:
        yield say("lens.nan", "headline", broken=broken, count=len(positions))
    else:
        yield _several_headline(model, found, names, token) if watched else _changed(found)
    yield _what(model, note("lens.vectors"))
    likeliest = [[label(row.candidates[0].text, _NARROW) for row in p.rows] for p in positions]
    yield _grid(note("lens.grid"), positions, names, likeliest)
    if watched:
        places = [[numbers.count(row.watched.rank) for row in p.rows] for p in positions]
        yield _grid(note("lens.grid_rank", token=token), positions, names, places)
    yield _ends(positions, names, token if watched else "")


def _changed(found: "Lens") -> Say:
    """Where the last layer still changes what comes first."""
    count = len(found.positions)
    early = sum(p.rows[-2].watched.rank == 1 for p in found.positions)
    return say("lens.many", "headline", count=count, early=early, late=count - early)


def _several_headline(model: Facts, found: "Lens", names: Sequence[str], token: str) -> Say:
    ends = {p.position: p.rows[-1].watched for p in found.positions}
    best = max(ends, key=lambda position: ends[position].probability)
    return say(
        f"lens.many_watched{'_mask' if model.masked else ''}", "headline", token=token,
        right=sum(end.rank == 1 for end in ends.values()), count=len(ends), query=names[best],
        probability=ends[best].probability, rank=numbers.count(ends[best].rank),
    )  # fmt: skip


def _grid(
    title: Note,
    positions: "Sequence[LensPosition]",
    names: Sequence[str],
    cells: Sequence[Sequence[str]],
) -> Columns:
    columns = [_after(positions[0].rows)]
    for p, column in zip(positions, cells, strict=True):
        columns.append(Column(names[p.position], column, "left"))
    return Columns(title, columns)


def _ends(positions: "Sequence[LensPosition]", names: Sequence[str], token: str) -> Columns:
    """The last row of each position, and the terms of its logit."""
    ends = [p.rows[-1].watched for p in positions]
    columns = [
        Column(note("lens.position"), [names[p.position] for p in positions], "left"),
        Column(note("column.token"), [label(end.text) for end in ends], "left"),
        Column(note("lens.rank"), [numbers.count(end.rank) for end in ends], "right"),
        Column(note("column.probability"), [end.probability for end in ends], "fine"),
        Column(note("column.logit"), [end.logit for end in ends]),
    ]
    if token or all(end.rank == 1 for end in ends):
        del columns[1 if token else 2]
    there = [n for n in _SUMMED if not all(math.isnan(getattr(p.sum, n)) for p in positions)]
    for name in there:
        columns.append(Column(note(f"lens.{name}"), [getattr(p.sum, name) for p in positions]))
    if not there:
        return Columns(note("lens.each_plain"), columns)
    key = "lens.each_watched" if token else "lens.each"
    return Columns(note(key, token=token), columns)

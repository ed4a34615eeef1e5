"""The page of `attn scan`: all heads in one ranking, each number with its spread."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from attn_cli import vocabulary
from attn_cli.records import Facts
from attn_cli.views.items import Column, Columns, Heading, Matrix, Page, Say, say, what_ifs
from attn_cli.views.text import label, named
from attn_cli.words import Note, counted, grouped, note

if TYPE_CHECKING:
    from attn_cli.scanning.results import Example, Head, Measure, Scan, Text

    _Rows = Sequence[tuple[Example, Text]]

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
        *pairs(model, heads[0]),
    ]


def picture(model: Facts, found: "Scan", settings: Mapping[str, Any]) -> Page:
    """The means of a measure: of each attention a square of layers and heads."""
    column = settings["sort"]
    items: Page = [Heading(model), *what_ifs(settings), _headline(found)]
    means = {head[:4]: of(head, column).mean for head in found.heads}
    return [*items, *squares(model, means, "scan.picture", column=column)]


def squares(
    model: Facts, values: Mapping[tuple[str, str, int, int], float], key: str, **said: str
) -> Iterator[Matrix]:
    """Numbers of heads, by stack, kind, layer and head: of each attention a square, with the title
    of this key."""
    for stack, kind in dict.fromkeys(at[:2] for at in values):
        own = {at[2:]: value for at, value in values.items() if at[:2] == (stack, kind)}
        layers, heads = (sorted(set(some)) for some in zip(*own, strict=True))
        square = np.full((len(layers), len(heads)), np.nan)
        for (layer, head), value in own.items():
            square[layers.index(layer), heads.index(head)] = value
        which = note(f"scan.of_{stack}_{kind}") if model.encoder else ""
        most = float(np.nanmax(square, initial=1.0))
        name = note(key, which=which, **said)
        yield Matrix(name, square, layers, heads, note("scan.axes"), most=most)


def check(model: Facts, found: "Scan") -> None:
    """Raises ValueError where parts of a saved result contradict each other."""
    counts = [found.files, found.prompts, found.tokens, found.failed]
    places = {head[:4] for head in found.heads}
    names = {tuple(one.measure for one in head.measures) for head in found.heads}
    if min(counts) < 0 or not found.heads or len(places) < len(found.heads) or len(names) != 1:
        raise ValueError
    if not {*names.pop()} & {*vocabulary.SCAN_COLUMNS.values()}:
        raise ValueError
    for head in found.heads:
        if not 0 <= head.head < model.heads_of(head.stack):
            raise ValueError
        for one in head.measures:
            if min(one.count, one.nonfinite, *(min(e[1:]) for e in one.examples)) < 0:
                raise ValueError
            if any(example.text >= len(found.texts) for example in one.examples):
                raise ValueError
    if any(len(text.ids) != len(text.tokens) for text in found.texts):
        raise ValueError


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
        _numbers(name_of(own), [one.mean for one in ranked_by]),
        *(_numbers(note(f"scan.{name}"), [getattr(one, name) for one in ranked_by])
          for name in _SPREAD),
    ]  # fmt: skip
    for place, one in enumerate(heads[0].measures):
        means = [head.measures[place].mean for head in heads]
        if one.measure != own and not np.isnan(means).all():
            columns.append(_numbers(name_of(one.measure), means))
    return columns


def _numbers(header: Note, numbers: Sequence[float]) -> Column:
    return Column(header, list(map(float, numbers)))


def name_of(measure: str) -> Note:
    """How tables call a measure."""
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
        Column(name_of(vocabulary.SCAN_COLUMNS[column]), [one.value for one in examples]),
        *where(model, head, rows),
    ])]  # fmt: skip


def where(model: Facts, head: "Head", rows: "_Rows") -> list[Column]:
    """The query and the key of examples, and where their prompts begin."""
    return [
        Column(note("scan.query"), [token(model, head, text, "query", one.query)
                                    for one, text in rows], "left"),
        Column(note("scan.key"), [token(model, head, text, "key", one.key)
                                  for one, text in rows], "left"),
        Column(note("scan.line"), [str(text.line) for _, text in rows], "right"),
        Column(note("scan.file"), [named(text.file) for _, text in rows], "left"),
    ]  # fmt: skip


def token(model: Facts, head: "Head", text: "Text", axis: str, place: int) -> str:
    """A token of an example; a place alone where another stack than the one whose tokens are kept
    reads it."""
    stack = "encoder" if axis == "key" and head.kind == "cross" else head.stack
    known = not model.encoder or stack == "encoder"
    return label(text.tokens[place]) if known and place < len(text.tokens) else str(place)


def pairs(model: Facts, head: "Head") -> Page:
    """The tokens that a head joins most; nothing where they were not counted."""
    if not head.pairs:
        return []
    return [Columns(note("scan.pairs", head=at(model, head)), [
        Column(note("scan.query"), [label(one.query) for one in head.pairs], "left"),
        Column(note("scan.key"), [label(one.key) for one in head.pairs], "left"),
        Column(note("scan.count"), [f"{one.count:,}" for one in head.pairs], "right"),
    ])]  # fmt: skip

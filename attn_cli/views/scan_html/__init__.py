"""The results of a scan as one HTML file: the ranking, and of each head its spread and examples."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from math import isfinite
from typing import TYPE_CHECKING, Any

from attn_cli import vocabulary
from attn_cli.records import Facts
from attn_cli.views import html, numbers
from attn_cli.views.markup import element, text
from attn_cli.views.scan import at, name_of, of, ranked, where
from attn_cli.views.text import label, named
from attn_cli.words import Note, grouped, language, note, sentence

if TYPE_CHECKING:
    from attn_cli.scanning.again import Again
    from attn_cli.scanning.results import Example, Head, Measure, Scan, Text

_WIDE, _HIGH = 160, 18  # pixels of a spread
_AROUND = 12  # tokens before and after a query
_NUMBERS = ("mean", "deviation", "minimum", "p05", "p25", "p50", "p75", "p95", "maximum")


def render(
    model: Facts, found: "Scan", settings: Mapping[str, Any], notes: Sequence[Note],
    drawn: "Sequence[Again]" = (), chosen: "Head | None" = None, why: Note | None = None,
) -> Iterator[bytes]:  # fmt: skip
    """The page in pieces. Of the head that is `chosen` examples are shaded as far as they are
    `drawn`; `why` says why they are not."""
    column = settings["sort"]
    tops = {one.measure: max(_top(head, place) for head in found.heads)
            for place, one in enumerate(found.heads[0].measures)}  # fmt: skip
    yield _head(model, found, settings, notes).encode("utf-8", "replace")
    yield _table(model, found, column, tops).encode("utf-8", "replace")
    for head in ranked(found, column):
        own = head is chosen
        part = _one(model, found, head, column, tops, drawn if own else (), why if own else None,
                    shown=own)  # fmt: skip
        yield part.encode("utf-8", "replace")
    script = file("sorting", "mjs")
    yield f"</main>{element('script', script)}</body></html>\n".encode()


def file(name: str, kind: str) -> str:
    """A file beside this one."""
    return files(__package__).joinpath(f"{name}.{kind}").read_text("utf-8")


def _top(head: "Head", place: int) -> float:
    """The largest number of a measure that a page has room for; 1 at least."""
    most = head.measures[place].maximum
    return max(1.0, most) if isfinite(most) else 1.0


def _head(model: Facts, found: "Scan", settings: Mapping[str, Any], notes: Sequence[Note]) -> str:
    headline = sentence(
        "scan.headline", heads=len(found.heads),
        prompts=grouped(found.prompts, "scan.prompts_one", "scan.prompts_many"),
        tokens=grouped(found.tokens, "page.tokens_one", "page.tokens_many"),
        files=grouped(found.files, "scan.files_one", "scan.files_many"),
    )  # fmt: skip
    changes = named(" ".join(vocabulary.changes(settings)))
    what_if = [element("p", text(sentence("page.what_if", changes=changes)), class_="what-if")]
    told = [element("p", text(str(one)), class_="aside") for one in notes]
    heading = (
        element("h1", text(model.name)), element("p", text(headline)), *what_if * bool(changes),
        *told, element("p", text(sentence("scan.what")), class_="aside"),
    )  # fmt: skip
    return start(f"{model.name}: {headline}", *heading)


def start(title: str, *content: str) -> str:
    """How a page begins, with what it has at first."""
    css = element("style", file("looks", "css"))
    head = element("head", html.head(), element("title", text(title)), css)
    return f'<!DOCTYPE html><html lang="{language()}">{head}<body><main>{"".join(content)}'


def _table(model: Facts, found: "Scan", column: str, tops: Mapping[str, float]) -> str:
    """All heads, in the order of a measure; a button above each column sorts by it."""
    own = vocabulary.SCAN_COLUMNS[column]
    measures = [one.measure for one in found.heads[0].measures]
    first = [own, *(name for name in measures if name != own)]
    order = sentence("heads.smallest" if column in vocabulary.SMALLEST_FIRST else "heads.largest")
    caption = element("caption", text(sentence("scan.ranking", column=column, order=order)))
    names = {name: short for short, name in vocabulary.SCAN_COLUMNS.items()}
    cells = [sorter(str(note("column.head_number")), "up")]
    for name in first:
        up = names[name] in vocabulary.SMALLEST_FIRST
        sort = ("ascending" if up else "descending") if name == own else ""
        cells.append(sorter(str(name_of(name)), "up" if up else "down", sort))
        if name == own:
            cells += [sorter(str(note("scan.deviation")), "down"),
                      element("th", text(sentence("scan.spread_short")), scope="col")]  # fmt: skip
    body = [_row(model, head, first, own, tops) for head in ranked(found, column)]
    table = element(
        "table", caption, element("thead", element("tr", *cells)), element("tbody", *body),
        id="ranking",
    )  # fmt: skip
    name = sentence("scan.ranking", column=column, order=order)
    return element("div", table, class_="wide", tabindex="0", role="region", aria_label=name)


def sorter(words: str, first: str, sort: str = "") -> str:
    """The header of a column by which a table can be sorted, `first` up or down."""
    button = element("button", text(words), type="button", data_first=first)
    return element("th", button, scope="col", aria_sort=sort or "none")


def _row(
    model: Facts, head: "Head", names: Sequence[str], own: str, tops: Mapping[str, float]
) -> str:
    known = {one.measure: one for one in head.measures}
    link = element("a", text(str(at(model, head))), href=f"#{_id(head)}")
    cells = [element("th", link, scope="row", data_value=f"{head.layer * 10**6 + head.head}")]
    for name in names:
        one = known[name]
        cells.append(number(one.mean))
        if name == own:
            cells += [number(one.deviation), element("td", _spread(one, tops[name]))]
    return element("tr", *cells)


def number(value: float) -> str:
    """A cell with a number."""
    told = numbers.decimal(value, 2) if isfinite(value) else "–"
    return element("td", text(told), data_value=repr(value) if isfinite(value) else "")


def _id(head: "Head") -> str:
    return "-".join(map(str, ("head", *head[:4])))


def _spread(one: "Measure", top: float) -> str:
    """A box from the first to the third quartile, a line from 5 % to 95 %, the median."""
    if not one.count:
        return ""
    said = sentence(
        "scan.spread_told", low=numbers.number(one.p05), first=numbers.number(one.p25),
        median=numbers.number(one.p50), third=numbers.number(one.p75), high=numbers.number(one.p95),
    )  # fmt: skip
    x = [f"{value / top * (_WIDE - 4) + 2:.1f}" for value in one[7:12]]
    middle, wide = _HIGH / 2, max(1.0, float(x[3]) - float(x[1]))
    return element(
        "svg", element("title", text(said)),
        element("path", d=f"M{x[0]},{middle}H{x[4]}", class_="whisker"),
        element("rect", x=x[1], y=3, width=f"{wide:.1f}", height=_HIGH - 6, class_="box"),
        element("path", d=f"M{x[2]},1V{_HIGH - 1}", class_="median"),
        width=_WIDE, height=_HIGH, viewBox=" ".join(map(str, (0, 0, _WIDE, _HIGH))), role="img",
        aria_label=said,
    )  # fmt: skip


def _one(
    model: Facts, found: "Scan", head: "Head", column: str, tops: Mapping[str, float],
    drawn: "Sequence[Again]", why: Note | None, *, shown: bool,
) -> str:  # fmt: skip
    """A head: the spread of its measures, and its examples."""
    names = [str(note(f"scan.{name}")) for name in _NUMBERS]
    columns = [str(note("scan.measure")), sentence("scan.spread_short"), str(note("scan.count")),
               *names]  # fmt: skip
    header = element("tr", *(element("th", text(name), scope="col") for name in columns))
    rows = [
        element(
            "tr", element("th", text(str(name_of(one.measure))), scope="row"),
            element("td", _spread(one, tops[one.measure])), element("td", text(f"{one.count:,}")),
            *(number(getattr(one, name)) for name in _NUMBERS),
        )
        for one in head.measures
    ]  # fmt: skip
    table = element("table", element("thead", header), element("tbody", *rows))
    said = sentence("scan.spread")
    wide = element("div", table, class_="wide", tabindex="0", role="region", aria_label=said)
    summary = element("summary", text(str(at(model, head))))
    parts = [summary, element("p", text(said)), wide]
    if why:
        parts.append(element("p", text(sentence("scan.not_drawn", why=why)), class_="aside"))
    elif drawn:
        parts.append(element("p", text(sentence("scan.shaded")), class_="aside"))
    parts += _examples(model, found, head, column, drawn)
    return element("details", *parts, id=_id(head), open="open" if shown else "")


def _examples(
    model: Facts, found: "Scan", head: "Head", column: str, drawn: "Sequence[Again]"
) -> Iterator[str]:
    measured = of(head, column)
    if not measured.examples:
        yield element("p", text(sentence("scan.no_examples", column=column)))
        return
    yield element("p", text(sentence("scan.examples_of", column=column)))
    again = {one.example: one for one in drawn}
    items = []
    for one in measured.examples:
        read = found.texts[one.text]
        query, key, line, file = (str(c.cells[0]) for c in where(model, head, [(one, read)]))
        told = sentence(
            "scan.example_at", value=numbers.number(one.value), query=query, key=key, line=line,
            file=file,
        )  # fmt: skip
        tokens = _weighed(head, again[one]) if one in again else _plain(model, head, one, read)
        items.append(
            element("li", element("p", text(told)), element("p", *tokens, class_="tokens"))
        )
    yield element("ol", *items)


def _weighed(head: "Head", one: "Again") -> Iterator[str]:
    """The keys, each as dark as the query weighs it; the query's row."""
    row = one.weights[one.queries.index(one.example.query)]
    for at_key, name, weight in zip(one.keys, one.key_names, row.tolist(), strict=True):
        own = head.kind == "self" and at_key == one.example.query
        kind = " ".join(["query"] * own + ["key"] * (at_key == one.example.key))
        yield element(
            "span", text(label(name)), element("b", text(numbers.fixed(weight))),
            class_=f"token {kind}".strip(), style=f"--w:{100 * min(1.0, weight):.0f}%",
        )  # fmt: skip


def _plain(model: Facts, head: "Head", one: "Example", read: "Text") -> Iterator[str]:
    """The tokens around a query, which is marked, and so is its key."""
    if model.encoder and head.stack == "decoder":
        return
    first, last = max(0, one.query - _AROUND), one.query + _AROUND + 1
    for place, name in enumerate(read.tokens[first:last], first):
        kind = " ".join(["query"] * (place == one.query) + ["key"] * (place == one.key))
        yield element("span", text(label(name)), class_=f"token {kind}".strip())

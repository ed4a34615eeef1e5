"""What a scan has found as a table: a row for each measure of each head.

`COLUMNS` are the columns of every form of it; examples are left out of CSV.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from attn_cli.records import Facts
from attn_cli.views import csv
from attn_cli.views.json import document, encode, record
from attn_cli.words import Note

if TYPE_CHECKING:
    from attn_cli.scanning.results import Scan

OF_HEAD = ("stack", "kind", "layer", "head")
NUMBERS = (
    "mean", "deviation", "minimum", "maximum", "p05", "p25", "p50", "p75", "p95",
)  # fmt: skip
COLUMNS = (*OF_HEAD, "measure", "provenance", "count", "nonfinite", *NUMBERS)


def written(
    kind: str, model: Facts, found: "Scan", settings: Mapping[str, Any], notes: tuple[Note, ...]
) -> Iterator[bytes]:
    """The table in a format that has rows."""
    beside = {name: getattr(found, name) for name in found_without_rows()}
    about = document("scan", model, None, settings, beside, notes)
    if kind == "csv":
        return csv.table(COLUMNS, ([row[name] for name in COLUMNS] for row in rows(found)))
    if kind == "ndjson":
        return _lines(found, about)
    from attn_cli.views import parquet

    return parquet.render(rows(found), about)


def found_without_rows() -> tuple[str, ...]:
    """The fields of a result's record that no row says."""
    return "files", "prompts", "tokens", "failed", "failures", "blind", "pairs_below"


def rows(found: "Scan") -> Iterator[dict[str, Any]]:
    """A row for each measure of each head: `COLUMNS`, then `examples` and `pairs`.

    An example has the `value`, where its prompt begins, the `query` and the `key`, and the prompt's
    tokens. `pairs` stand beside the first measure of a head.
    """
    for head in found.heads:
        start = {name: getattr(head, name) for name in (*OF_HEAD, "provenance")}
        pairs = [pair._asdict() for pair in head.pairs]
        for one in head.measures:
            own = {name: getattr(one, name) for name in ("measure", "count", "nonfinite", *NUMBERS)}
            examples = [
                {"value": e.value, "query": e.query, "key": e.key, **found.texts[e.text]._asdict()}
                for e in one.examples
            ]
            both = {**start, **own}
            shown = {name: both[name] for name in COLUMNS}
            yield {**shown, "examples": examples, "pairs": pairs}
            pairs = []


def _lines(found: "Scan", about: Mapping[str, Any]) -> Iterator[bytes]:
    """A line for each row, and last one for all that the document says beside."""
    for row in rows(found):
        yield encode(record(row), line=True)
    yield encode(about, line=True)

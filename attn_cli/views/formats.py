"""The formats, one line each: options, suffixes, refusals and writers follow from this list."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Format(NamedTuple):
    """The suffixes that choose a format, and what it holds.

    `documents`: whole documents, several of them one to a line, with a place for notes. `arrays`:
    the module whose `render` writes a trace's arrays as bytes. One with neither is the page. One
    that is `drawn` shows a trace as a page does, every token of it: `needed` of its module says
    which arrays that takes, or refuses (see `Drawing`). `places`: the layers and heads that are
    drawn where none are chosen. `page`: the module whose `render` draws the items of a page as
    bytes: its picture, or in a view that was asked for the page as on a screen; `needed` as above.
    `scans`: a table of what a scan has found, and of nothing else.
    `sheet`: the module whose `render` writes a sheet of `attn exercise` to be filled in.
    `takes`: the memory that writing a trace takes, as `room.Made` has it.
    """

    suffixes: tuple[str, ...]
    documents: bool = False
    binary: bool = False
    arrays: str = ""
    drawn: bool = False
    places: str = ""
    page: str = ""
    scans: bool = False
    sheet: str = ""
    takes: tuple[float, ...] = ()

    def chosen(self, layer: str | None, head: str | None) -> tuple[str | None, str]:
        """The layers and heads that were asked for; where none were, this format's, or else the
        first."""
        layer = self.places or None if layer is None else layer
        return layer, self.places or "0" if head is None else head


class Drawing(NamedTuple):
    """What a drawn format is asked for: the heads of each stack in these blocks, and the queries
    and keys to show of each attention, (stack, kind)."""

    model: Any
    prompt: Any
    blocks: tuple[Any, ...]
    heads: Mapping[str, tuple[int, ...]]
    shown: Mapping[tuple[str, str], tuple[tuple[int, ...], tuple[int, ...]]]
    parameters: bool
    after: bool


FORMATS = {
    "table": Format((".txt",)),
    "json": Format((".json",), documents=True, takes=(0, 0, 3.2)),
    "ndjson": Format((".ndjson", ".jsonl"), documents=True, arrays="attn_cli.views.ndjson"),
    "csv": Format((".csv",), arrays="attn_cli.views.csv", sheet="attn_cli.views.form"),
    "npz": Format((".npz",), binary=True, arrays="attn_cli.views.npz", takes=(1, 0, 1)),
    "svg": Format((".svg",), page="attn_cli.views.svg", takes=(1, 0, 1)),
    "html": Format((".html", ".htm"), arrays="attn_cli.views.html", drawn=True, places="all",
                   sheet="attn_cli.views.html.sheet"),
    "xlsx": Format((".xlsx",), binary=True, arrays="attn_cli.views.xlsx", drawn=True,
                   sheet="attn_cli.views.workbook.exercise"),
    "parquet": Format((".parquet",), binary=True, arrays="attn_cli.views.parquet", scans=True),
}  # fmt: skip

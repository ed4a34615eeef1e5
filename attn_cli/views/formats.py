"""The formats, one line each: options, suffixes, refusals and writers follow from this list."""

from typing import NamedTuple


class Format(NamedTuple):
    """The suffixes that choose a format, and what it holds.

    `documents`: whole documents, several of them one to a line, with a place for notes. `arrays`:
    the module whose `render` writes a trace's arrays as bytes. One with neither is the page.
    """

    suffixes: tuple[str, ...]
    documents: bool = False
    binary: bool = False
    arrays: str = ""


FORMATS = {
    "table": Format((".txt",)),
    "json": Format((".json",), documents=True),
    "ndjson": Format((".ndjson", ".jsonl"), documents=True, arrays="attn_cli.views.ndjson"),
    "csv": Format((".csv",), arrays="attn_cli.views.csv"),
    "npz": Format((".npz",), binary=True, arrays="attn_cli.views.npz"),
}

"""Answers to a sheet as a spreadsheet saves them: a row for each blank, as CSV."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from attn_cli.errors import ContentError, shorten
from attn_cli.views.form import ANSWER, BLANK, PLACE

_FORM = f"attn exercise --format csv writes it; its columns are {BLANK} and {ANSWER}"
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_FINITE = 1e300
Row = tuple[str, str, tuple[str, ...]]


def is_form(name: str, data: bytes) -> bool:
    """Whether a file is a table, and so no JSON: by its first line, or its name."""
    first = data.lstrip().partition(b"\n")[0]
    named = name.lower().endswith((".csv", ".tsv"))
    return not first.startswith((b"{", b"[")) and (
        named or (BLANK.encode() in first.lower() and ANSWER.encode() in first.lower())
    )


def rows(where: str, data: bytes) -> list[Row]:
    """The blanks of a table, each with the answer as it is written, and the array, the row and the
    column that it names (none, if it has no such columns). Raises ContentError."""
    if b"\0" in data:
        raise ContentError(f"{where} is no CSV", "save it as CSV with commas or semicolons, UTF-8")
    # Spreadsheets save in the machine's own encoding; what counts here is ASCII in all of them.
    lines = re.split(r"\r\n|\r|\n", data.decode("utf-8", "replace"))
    found = _table(where, lines)
    header = [word.strip().lower() for word in next(found, [])]
    for name in (BLANK, ANSWER):
        if header.count(name) != 1:
            what = "lacks the column" if name not in header else "has twice the column"
            raise ContentError(f"{where} {what} {name}", _FORM)
    places = [header.index(name) for name in PLACE if name in header]
    at = [header.index(BLANK), header.index(ANSWER), *(places if len(places) == len(PLACE) else [])]
    every = []
    for fields in found:
        blank, answer, *place = ([*fields, *[""] * len(header)][n].strip() for n in at)
        if any(map(str.strip, fields)):
            every.append((blank, answer, tuple(place)))
    for blank, count in Counter(blank for blank, *_ in every).items():
        if count > 1:
            raise ContentError(f"{where} answers {shorten(blank)!r} twice", "leave one row of it")
    return every


def _table(where: str, lines: Sequence[str]) -> Iterator[list[str]]:
    """The fields of each line; what the first line has most of stands between them."""
    mark = max(",;\t", key=lines[0].count)
    try:
        yield from csv.reader(lines, delimiter=mark, strict=True)
    except csv.Error:
        raise ContentError(f"{where} is no CSV", _FORM) from None


def number(where: str, blank: str, written: str) -> float | None:
    """An answer, with a point or a comma before its decimals; None if it is empty."""
    if not written:
        return None
    typed = written.replace("\u2212", "-")
    value = float(typed.replace(",", ".")) if _NUMBER.fullmatch(typed) else _FINITE
    if abs(value) >= _FINITE:
        what = f"{where}: the answer to {shorten(blank)!r} is no number: {shorten(written)}"
        raise ContentError(what, "0.5 or 0,5, without a mark between thousands")
    return value

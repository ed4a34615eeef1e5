"""A trace as CSV: one number per row, for spreadsheets and data frames."""

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from attn_cli import vocabulary
from attn_cli.records import Attention, Trace
from attn_cli.routing import Experts
from attn_cli.views.text import visible

HEADER = (
    "stack", "kind", "layer", "head", "step", "name", "row", "column", "row_token",
    "column_token", "value", "provenance",
)  # fmt: skip
_TOGETHER = 1 << 14  # rows that are written at once


def render(trace: Trace) -> Iterator[bytes]:
    """Array by array; masked cells are `-inf`, `visible` is 1 or 0. The prediction is not in it.

    Rows and columns of queries and keys are numbered by position; of a mixture `shares` has a row
    for each token and a column for each expert that it was sent to.
    """
    yield written([HEADER])
    for block in trace.attention:
        sides = trace.prompt.sides(block.stack, block.kind)
        queries, keys = ([cell(text) for text in side.labels] for side in sides)
        for name in block.arrays:
            yield from _written(_rows(block, name, {"query": queries, "key": keys}))
    for of in trace.experts:
        tokens = [cell(text) for text in trace.prompt.of(of.stack).labels]
        yield from _written(_shares(of, tokens))


def _shares(of: Experts, tokens: list[str]) -> Iterator[tuple[Any, ...]]:
    start = (of.stack, "", of.layer, "", "", "shares")
    for query, chosen, shares in zip(of.queries, of.chosen, of.shares, strict=True):
        for expert, share in zip(chosen, shares, strict=True):
            yield (*start, query, expert, tokens[query], "", str(share), of.provenance)


def _written(rows: Iterator[tuple[Any, ...]]) -> Iterator[bytes]:
    """Rows as text, some at a time: all of an array's take ten times as much as the array."""
    while some := list(islice(rows, _TOGETHER)):
        yield written(some)


def table(names: Iterable[str], rows: Iterable[Iterable[Any]]) -> Iterator[bytes]:
    """Rows of texts and numbers, some at a time, under these names."""
    yield written([names])
    yield from _written(tuple(cell(v) if isinstance(v, str) else v for v in row) for row in rows)


def written(rows: Iterable[Iterable[Any]]) -> bytes:
    """Rows as lines of CSV."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


def cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    shown = visible(text)
    return f"'{shown}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else shown


def _rows(block: Attention, name: str, tokens: dict[str, list[str]]) -> Iterator[tuple[Any, ...]]:
    spec = vocabulary.ARRAYS[name]
    array = block.arrays[name]
    heads: tuple[Any, ...] = {"head": block.heads, "kv_head": block.kv_heads}.get(spec.axes[0], ())
    axes = spec.axes[1:] if heads else spec.axes
    matrices = array if heads else array[None]
    if axes in ((), ("query",)):  # a number for each head, or each of its queries: one column
        matrices, axes = matrices.reshape(len(matrices), -1, 1), (*axes, "")[-2:]
    of_tokens = {"query": block.queries, "key": block.keys}
    rows, columns = (
        [(n, tokens[axis][n]) for n in of_tokens[axis]] if axis in of_tokens
        else [(n, "") for n in range(max(matrices.shape[1:]))]
        for axis in (axes[0], axes[-1])
    )  # fmt: skip
    provenance = block.provenance(name)
    for head, matrix in zip(heads or ("",), matrices, strict=True):
        start = (block.stack, block.kind, block.layer, head, spec.step or "", name)
        for (i, row_token), row in zip(rows, np.atleast_2d(matrix), strict=False):
            for (j, column_token), value in zip(columns, row, strict=False):
                number = str(int(value)) if isinstance(value, np.bool_) else str(value)
                yield (*start, i, j, row_token, column_token, number, provenance)

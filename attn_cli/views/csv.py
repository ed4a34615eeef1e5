"""A trace as CSV: one number per row, for spreadsheets and data frames."""

import csv
import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from attn_cli import vocabulary
from attn_cli.records import Attention, Trace
from attn_cli.views.text import visible

HEADER = (
    "stack", "kind", "layer", "head", "step", "name", "row", "column", "row_token",
    "column_token", "value",
)  # fmt: skip
_OF_TOKENS = ("query", "key")


def render(trace: Trace) -> bytes:
    """All arrays; masked cells are `-inf`, `visible` is 1 or 0. The prediction is not in it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADER)
    tokens = [_cell(text) for text in trace.prompt.labels]
    for block in trace.attention:
        for name in block.arrays:
            writer.writerows(_rows(block, name, tokens))
    return out.getvalue().encode()


def _cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    shown = visible(text)
    return f"'{shown}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else shown


def _rows(block: Attention, name: str, tokens: list[str]) -> Iterator[tuple[Any, ...]]:
    spec = vocabulary.ARRAYS[name]
    array = block.arrays[name]
    heads: tuple[Any, ...] = {"head": block.heads, "kv_head": block.kv_heads}.get(spec.axes[0], ())
    axes = spec.axes[1:] if heads else spec.axes
    matrices = array if heads else array[None]
    blank = [""] * max(matrices.shape[1:])
    row_tokens = tokens if axes[0] in _OF_TOKENS else blank
    column_tokens = tokens if axes[-1] in _OF_TOKENS else blank
    for head, matrix in zip(heads or ("",), matrices, strict=True):
        start = (block.stack, block.kind, block.layer, head, spec.step, name)
        for i, row in enumerate(np.atleast_2d(matrix)):
            for j, value in enumerate(row):
                number = str(int(value)) if isinstance(value, np.bool_) else str(value)
                yield (*start, i, j, row_tokens[i], column_tokens[j], number)

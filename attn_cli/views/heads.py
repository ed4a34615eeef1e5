"""The page of `attn heads`: every head as a small shaded grid, then in numbers."""

import numpy as np
from rich.text import Text

from attn_cli.analysis.heads import Heads
from attn_cli.trace import Trace
from attn_cli.views import numbers, page
from attn_cli.views.matrix import Look
from attn_cli.views.text import pad, widest
from attn_cli.words import sentence

_MOST_CELLS = 24


def render(trace: Trace, found: Heads, look: Look) -> page.Page:
    """Headline, grids side by side, one summary row per head, where each query looks, the sum."""
    names = page.labels(trace.prompt)
    sharpest = min(found.heads, key=lambda head: head.entropy)
    strongest = max(found.heads, key=lambda head: head.norm)
    digits = look.digits
    items: page.Page = [
        page.heading(trace.model, f"layer {found.layer}"),
        page.tokens_line(trace.prompt),
        page.headline(
            "heads.headline", layer=found.layer, sharpest=sharpest.head, query=names[-1],
            entropy=numbers.number(sharpest.entropy, digits), strongest=strongest.head,
            norm=numbers.number(strongest.norm, digits),
        ),
        page.title("heads.columns" if look.columns_are_queries else "heads.grids"),
        _grids(found, names, look),
        page.title("heads.summary"),
        _summary(found, digits),
        page.say("heads.what", query=names[-1], output=numbers.number(found.output_norm, digits)),
        page.title("heads.where"),
        *_looks(found, names, look),
    ]  # fmt: skip
    if np.isnan(found.largest_error):
        return [*items, page.say("heads.part")]
    return [*items, page.say("heads.sum", error=f"{found.largest_error:.1e}")]


def _grids(found: Heads, names: list[str], look: Look) -> Text:
    """As many heads side by side as the width holds; long prompts show their last tokens."""
    start = 0 if look.full else max(0, len(names) - _MOST_CELLS)
    weights = found.weights[:, start:, start:]
    if look.columns_are_queries:
        weights = weights.swapaxes(1, 2)
    labels = names[start:]
    margin = widest(labels)
    cell = 2 * len(labels) + 3
    across = max(1, (look.width - margin - 4) // max(cell, 8))
    lines = []
    for first in range(0, len(found.heads), across):
        chosen = range(first, min(first + across, len(found.heads)))
        titles = "".join(f"{f'head {found.heads[h].head}':<{max(cell, 8)}}" for h in chosen)
        lines.append(f"    {'':<{margin}}  {titles}")
        for i, name in enumerate(labels):
            rows = "".join(
                f"{''.join(numbers.shade(w) * 2 for w in weights[h, i]):<{max(cell, 8)}}"
                for h in chosen
            )
            lines.append(f"    {pad(name, margin)}  {rows}")
        lines.append("")
    if start:
        lines.append(f"    … the last {len(labels)} of {len(names)} tokens; --full shows all")
    return Text("\n".join(lines).rstrip("\n"), no_wrap=True)


def _summary(found: Heads, digits: int) -> object:
    rows = found.heads
    columns = [[str(head.head) for head in rows]]
    for key in ("entropy", "first_share", "previous_share", "self_share", "norm", "cosine"):
        columns.append(numbers.column([getattr(head, key) for head in rows], digits))
    headers = ["head", "entropy", "on first", "on previous", "on itself", "norm", "cosine"]
    return page.columns_table(headers, columns)


def _looks(found: Heads, names: list[str], look: Look) -> page.Page:
    """A table of the most weighted key, one column per head, in panels as wide as the screen."""
    last = len(names) if look.full else 2 * 6
    shown = list(range(len(names)))[-last:]
    columns = [[names[head.looks_at[i]] for i in shown] for head in found.heads]
    headers = [f"head {head.head}" for head in found.heads]
    widths = [widest([h, *c]) + 2 for h, c in zip(headers, columns, strict=True)]
    room = look.width - 8 - widest(names)
    tables: page.Page = []
    first = 0
    while first < len(headers):
        stop, used = first, 0
        while stop < len(headers) and (stop == first or used + widths[stop] <= room):
            used += widths[stop]
            stop += 1
        left = range(stop - first + 1)
        panel = page.columns_table(
            ["query", *headers[first:stop]], [[names[i] for i in shown], *columns[first:stop]], left
        )
        tables.append(panel)
        first = stop
    if len(shown) < len(names):
        more = sentence("mask.more", count=len(names) - len(shown))
        tables.append(Text(f"    {more}", "dim"))
    return tables

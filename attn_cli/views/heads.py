"""The page of `attn heads`: every head as a small shaded grid, then in numbers."""

import numpy as np
from rich.text import Text

from attn_cli.analysis.heads import Heads
from attn_cli.records import Trace
from attn_cli.views import numbers, page
from attn_cli.views.matrix import Look
from attn_cli.views.text import pad, widest
from attn_cli.words import sentence

_MOST_CELLS = 24


def render(trace: Trace, found: Heads, look: Look) -> page.Page:
    """Headline, grids side by side, one summary row per head, where each query looks, the sum."""
    names = page.labels(trace.prompt)
    digits = look.digits
    items: page.Page = [
        page.heading(trace.model, f"layer {found.layer}"),
        page.tokens_line(trace.prompt),
        _headline(found, names[-1], digits),
        page.title("heads.columns" if look.columns_are_queries else "heads.grids"),
        _grids(found, names, look),
        page.title("heads.summary"),
        _summary(found, digits, single=len(names) == 1),
        page.say("heads.what", query=names[-1], output=numbers.number(found.output_norm, digits)),
        page.title("heads.where"),
        *_looks(found, names, look),
    ]
    if len(found.heads) < trace.model.heads:
        return [*items, page.say("heads.part")]
    error = "NaN" if np.isnan(found.largest_error) else f"{found.largest_error:.1e}"
    return [*items, page.say("heads.sum", error=error)]


def _headline(found: Heads, query: str, digits: int) -> object:
    """Names the sharpest and the strongest head, of those whose numbers are finite."""
    sharp = [head for head in found.heads if np.isfinite(head.entropy)]
    strong = [head for head in found.heads if np.isfinite(head.norm)]
    if not sharp or not strong:
        return page.headline("heads.nothing", layer=found.layer)
    sharpest = min(sharp, key=lambda head: head.entropy)
    strongest = max(strong, key=lambda head: head.norm)
    return page.headline(
        "heads.headline", layer=found.layer, sharpest=sharpest.head, query=query,
        entropy=numbers.number(sharpest.entropy, digits), strongest=strongest.head,
        norm=numbers.number(strongest.norm, digits),
    )  # fmt: skip


def _grids(found: Heads, names: list[str], look: Look) -> Text:
    """As many heads side by side as the width holds. Where not even one fits, the last tokens are
    shown; with `look.full` all, in panels of columns."""
    margin = widest(names)
    fitting = max(1, (look.width - margin - 7) // 2)
    start = 0 if look.full else max(0, len(names) - min(_MOST_CELLS, fitting))
    weights = found.weights[:, start:, start:]
    if look.columns_are_queries:
        weights = weights.swapaxes(1, 2)
    labels = names[start:]
    lines: list[str] = []
    for first in range(0, len(labels), fitting):
        shown = weights[:, :, first : first + fitting]
        which = "" if len(labels) <= fitting else f"{first}–{first + shown.shape[2] - 1}"
        lines += _panel_of_grids(found, shown, labels, margin, which, look.width)
    if start:
        lines.append("    " + sentence("heads.last", shown=len(labels), count=len(names)))
    return Text("\n".join(lines).rstrip("\n"), no_wrap=True)


def _panel_of_grids(
    found: Heads, weights: np.ndarray, labels: list[str], margin: int, which: str, width: int
) -> list[str]:
    """`which` names the columns where they are not all."""
    title = f" · {which}" if which else ""
    titles = [f"head {head.head}{title}" for head in found.heads]
    cell = max(2 * weights.shape[2] + 3, widest(titles) + 2)
    across = max(1, (width - margin - 4) // cell)
    lines = []
    for first in range(0, len(titles), across):
        chosen = range(first, min(first + across, len(titles)))
        lines.append(f"    {'':<{margin}}  {''.join(pad(titles[h], cell) for h in chosen)}")
        for i, name in enumerate(labels):
            rows = "".join(
                pad("".join(numbers.shade(w) * 2 for w in weights[h, i]), cell) for h in chosen
            )
            lines.append(f"    {pad(name, margin)}  {rows}".rstrip())
        lines.append("")
    return lines


def _summary(found: Heads, digits: int, *, single: bool) -> object:
    """A `single` token has no previous one to look at."""
    rows = found.heads
    columns = [[str(head.head) for head in rows]]
    for key in ("entropy", "first_share", "previous_share", "self_share", "norm", "cosine"):
        texts = numbers.column([getattr(head, key) for head in rows], digits)
        columns.append(["–" for _ in rows] if single and key == "previous_share" else texts)
    headers = ["head", "entropy", "on first", "on previous", "on itself", "norm", "cosine"]
    return page.columns_table(headers, columns)


def _looks(found: Heads, names: list[str], look: Look) -> page.Page:
    """A table of the most weighted key, one column per head."""
    last = len(names) if look.full else 2 * 6
    shown = list(range(len(names)))[-last:]
    columns = [[names[head.looks_at[i]] for i in shown] for head in found.heads]
    headers = ["query", *(f"head {head.head}" for head in found.heads)]
    table = page.columns_table(headers, [[names[i] for i in shown], *columns], range(len(headers)))
    if len(shown) == len(names):
        return [table]
    more = sentence("mask.more", count=len(names) - len(shown))
    return [table, Text(f"    {more}", "dim")]

"""The page of `attn mask`: the mask as a picture, what it hides, and what moves."""

import numpy as np
from rich.text import Text

from attn_cli.analysis.mask import Cell, MaskEffect
from attn_cli.records import Trace
from attn_cli.views import numbers, page
from attn_cli.views.matrix import Look
from attn_cli.views.text import label, pad, visible, widest
from attn_cli.words import sentence

_MOST = 12


def render(trace: Trace, found: MaskEffect, before: str, after: str, look: Look) -> page.Page:
    """`before` and `after` name the two masks in words."""
    names = page.labels(trace.prompt)
    items: page.Page = [page.heading(trace.model), page.tokens_line(trace.prompt)]
    items.append(_headline(found, names, after, look.digits))
    compared = sentence(
        "mask.compared", before=visible(before), after=visible(after), layer=found.layer,
        head=found.head,
    )  # fmt: skip
    items.append(Text(f" {compared}", "dim"))
    items += [page.title("mask.picture"), _picture(found, names, look)]
    if np.array_equal(found.visible_after, np.tri(len(names), dtype=bool)) or (
        np.array_equal(found.visible_before, np.tri(len(names), dtype=bool))
    ):
        items.append(page.say("mask.why"))
    items += _cells("mask.removed", found.removed, names, look)
    items += _cells("mask.added", found.added, names, look)
    for name, values in (("before", found.weights_before), ("after", found.weights_after)):
        items += page.query_key_matrix(f"weights {name}", values, names, names, look)
    items += [page.title("mask.moved"), _moved(found, names, look.digits)]
    if found.next_after:
        items += [page.title("mask.next"), _next(found, look.digits)]
    return items


def _headline(found: MaskEffect, names: list[str], after: str, digits: int) -> object:
    if not found.removed and not found.added:
        return page.headline("mask.same")
    first = found.next_before[0]
    gone, new = _all_or_nothing(found)
    # Half of the change counts, so that what moves is not counted twice; what vanishes moves whole.
    moved = np.nan_to_num(np.where(gone | new, 1, found.moved))
    most = int(np.argmax(moved))
    key = "mask.vanishes" if gone[most] else "mask.appears" if new[most] else "mask.moves"
    later = next(c.probability for c in found.next_after if c.id == first.id)
    texts = numbers.column([float(found.moved[most]), first.probability, later], max(digits, 2))
    return page.headline(
        "mask.headline", mask=visible(after), removed=len(found.removed), added=len(found.added),
        cells=found.visible_before.size, effect=sentence(key, query=names[most], moved=texts[0]),
        token=label(first.text), before=texts[1], after=texts[2],
    )  # fmt: skip


def _all_or_nothing(found: MaskEffect) -> tuple[np.ndarray, np.ndarray]:
    """Which queries see no key any more, and which saw none before."""
    before, after = found.visible_before.any(axis=1), found.visible_after.any(axis=1)
    return before & ~after, after & ~before


def _picture(found: MaskEffect, names: list[str], look: Look) -> Text:
    marks = np.where(found.visible_after, "●", "·").astype(object)
    marks[found.visible_before & ~found.visible_after] = "−"
    marks[found.visible_after & ~found.visible_before] = "+"
    axes = "axes.rows_keys" if look.columns_are_queries else "axes.rows_queries"
    if look.columns_are_queries:
        marks = marks.T
    margin = widest(names)
    fitting = max(1, (look.width - margin - 6) // 2)
    most = len(names) if look.full else min(len(names), fitting)
    lines = [f"    {sentence(axes)}"]
    for first in range(0, most, fitting):
        shown = slice(first, min(first + fitting, most))
        lines += [f"    {pad(names[i], margin)}  {' '.join(marks[i, shown])}" for i in range(most)]
    if most < len(names):
        lines.append("    " + sentence("mask.more", count=len(names) - most))
    return Text("\n".join(lines), no_wrap=True)


def _cells(key: str, cells: tuple[Cell, ...], names: list[str], look: Look) -> page.Page:
    if not cells:
        return []
    shown = cells if look.full else cells[:_MOST]
    columns = [
        [names[cell.query] for cell in shown],
        [names[cell.key] for cell in shown],
        numbers.column([cell.scaled for cell in shown], look.digits),
        numbers.column([cell.weight for cell in shown], look.digits),
    ]
    table = page.columns_table(("query", "key", "scaled", "weight"), columns, left=(0, 1))
    items: page.Page = [page.title(key), table]
    if len(shown) < len(cells):
        items.append(page.say("mask.more", count=len(cells) - len(shown)))
    return items


def _moved(found: MaskEffect, names: list[str], digits: int) -> object:
    gone, new = _all_or_nothing(found)
    moved = [
        sentence("mask.gone") if lost else sentence("mask.new") if came else text
        for lost, came, text in zip(gone, new, numbers.column(found.moved, digits), strict=True)
    ]
    columns = [
        names,
        moved,
        [numbers.bar(value, 16) for value in np.where(gone | new, 1, found.moved)],
        numbers.column(found.output_change, digits),
        numbers.column(found.output_norm, digits),
    ]
    headers = ("query", "moved", "", "change of output", "its length before")
    return page.columns_table(headers, columns, left=(0, 2))


def _next(found: MaskEffect, digits: int) -> object:
    """The likeliest of both lists, by their rank after."""
    before = {candidate.id: candidate.probability for candidate in found.next_before}
    rows = found.next_after
    values = [c.probability for c in rows]
    columns = [
        [label(c.text) for c in rows],
        numbers.column([before[c.id] for c in rows], max(digits, 2)),
        numbers.column(values, max(digits, 2)),
        [numbers.bar(value, 16) for value in values],
    ]
    return page.columns_table(("token", "before", "after", ""), columns, left=(0, 3))

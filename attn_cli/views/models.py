"""The pages of `attn models`."""

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from attn_cli.opening.listing import Contents, Listed, Listing
from attn_cli.records import Facts
from attn_cli.views import numbers, page
from attn_cli.views.text import visible
from attn_cli.words import sentence


def render_listing(found: Listing) -> page.Page:
    """What opens by name, one table for each place; then what does not, and why."""
    pages: page.Page = []
    for place in dict.fromkeys(row.place for row in found.models):
        rows = [row for row in found.models if row.place == place]
        pages.append(page.title(f"models.{place}"))
        opening = [row for row in rows if row.opens]
        if opening:
            pages.append(_opening(opening))
        for row in rows:
            if not row.opens:
                family = f" ({visible(row.family)})" if row.family else ""
                words = {"name": visible(row.name), "reason": visible(row.reason)}
                pages.append(page.say("models.broken", family=family, **words))
    folders = ", ".join(map(visible, found.folders))
    return [*pages, page.say("models.looked", folders=folders), page.say("models.folder")]


def _opening(rows: Sequence[Listed]) -> RenderableType:
    columns = [
        [visible(row.name) for row in rows],
        [row.family for row in rows],
        [f"{row.parameters:,}" if row.parameters else "any" for row in rows],
        [numbers.size(row.bytes) if row.bytes else "–" for row in rows],
        [row.quantisation or "–" for row in rows],
    ]
    names = ["name", "family", "parameters", "size", "quantisation"]
    if any(row.remark for row in rows):
        columns.append([sentence(f"models.{row.remark}") if row.remark else "" for row in rows])
        names.append("")
    return page.columns_table(names, columns, (0, 1, 4, 5))


def render_contents(model: Facts, found: Contents) -> page.Page:
    """Config, parts and tensors of one checkpoint."""
    config = [[visible(str(key)) for key in found.config]]
    config.append([_short(value) for value in found.config.values()])
    parts = [
        [visible(part.name) for part in found.parts] + ["total"],
        [f"{part.parameters:,}" for part in found.parts] + [f"{found.parameters:,}"],
        [numbers.size(part.bytes) for part in found.parts] + [numbers.size(found.bytes)],
    ]
    tensors = [
        [visible(tensor.name) for tensor in found.tensors],
        [tensor.dtype for tensor in found.tensors],
        [" × ".join(str(n) for n in tensor.shape) for tensor in found.tensors],
    ]
    return [
        page.heading(model),
        Text(f"    {visible(model.source)}", "dim"),
        page.title("models.config"),
        page.columns_table(("key", "value"), config, (0, 1)),
        page.title("models.parts"),
        page.columns_table(("part", "parameters", "size"), parts),
        page.title("models.tensors"),
        page.columns_table(("name", "dtype", "shape"), tensors, (0, 1, 2)),
        page.say("models.tokens", size=f"{found.tokens:,}"),
    ]


def _short(value: object) -> str:
    """A value of the config in one line; a list of equals as one of them."""
    if isinstance(value, tuple) and len(set(value)) == 1:
        return f"{value[0]} in each of {len(value)} layers"
    text = visible(str(value))
    return text if len(text) <= 60 else f"{text[:59]}…"

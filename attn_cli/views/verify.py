"""The page of `attn verify`: the largest error of every array, and what to think of it."""

from attn_cli.analysis.verify import StepError, Verification
from attn_cli.records import Facts, Prompt
from attn_cli.views import page
from attn_cli.views.text import visible


def render(model: Facts, prompt: Prompt, found: Verification) -> page.Page:
    """The verdict in words, then a row per array."""
    items: page.Page = [
        page.heading(model),
        page.tokens_line(prompt),
        page.headline(
            "verify.headline", verdict=found.verdict, error=f"{found.largest:.1e}",
            layers=found.layers,
        ),
        page.say("verify.what"),
        page.title("verify.float64"),
        _table(found.float64),
    ]  # fmt: skip
    if found.reference:
        source = visible(found.reference_source)
        items += [page.title("verify.reference", source=source), _table(found.reference)]
    return items


def _table(rows: tuple[StepError, ...]) -> object:
    columns = [
        [str(row.step) for row in rows],
        [row.name for row in rows],
        [f"{row.error:.1e}" for row in rows],
        [str(row.layer) for row in rows],
        [row.verdict for row in rows],
    ]
    headers = ("step", "array", "largest error", "in layer", "verdict")
    return page.columns_table(headers, columns, left=(0, 1, 4))

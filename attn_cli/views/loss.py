"""The page of `attn loss`: one row per position, then the mean and the perplexity."""

import math

from attn_cli.analysis.loss import Loss
from attn_cli.records import Facts, Prompt
from attn_cli.views import numbers, page
from attn_cli.views.matrix import Look
from attn_cli.views.text import label
from attn_cli.words import sentence


def render(model: Facts, prompt: Prompt, found: Loss, look: Look) -> page.Page:
    """What came next, how likely it was, what it cost, and what was guessed."""
    rows = found.positions
    digits = max(look.digits, 2)
    columns = [
        [str(row.position) for row in rows],
        [label(row.token) for row in rows],
        [label(row.next_token) for row in rows],
        numbers.column([row.probability for row in rows], digits),
        ["–" if math.isnan(row.loss) else str(row.rank) for row in rows],
        numbers.column([row.loss for row in rows], digits),
        [label(row.best.text) for row in rows],
        numbers.column([row.best.probability for row in rows], digits),
    ]
    key = "loss.trained_one" if len(rows) == 1 else "loss.trained_many"
    trained = sentence(key, count=len(rows))
    headers = ("", "after", "comes", "probability", "rank", "loss", "best guess", "its probability")
    return [
        page.heading(model),
        page.tokens_line(prompt),
        _headline(found, digits),
        page.say("loss.what", predictions=trained),
        page.title("loss.title"),
        page.columns_table(headers, columns, left=(1, 2, 6)),
    ]


def _headline(found: Loss, digits: int) -> object:
    numbered = [row for row in found.positions if not math.isnan(row.loss)]
    right, count = sum(row.rank == 1 for row in numbered), len(found.positions)
    if len(numbered) < count:
        broken = count - len(numbered)
        return page.headline("loss.nan", broken=broken, count=count, right=right)
    return page.headline(
        "loss.one" if count == 1 else "loss.headline", right=right, count=count,
        mean=numbers.number(found.mean, digits),
        perplexity=numbers.number(found.perplexity, 1),
    )  # fmt: skip

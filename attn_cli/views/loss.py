"""The page of `attn loss`: one row per position, then the mean and the perplexity."""

from attn_cli.analysis.loss import Loss
from attn_cli.trace import ModelFacts, Prompt
from attn_cli.views import numbers, page
from attn_cli.views.matrix import Look
from attn_cli.views.text import label


def render(model: ModelFacts, prompt: Prompt, found: Loss, look: Look) -> page.Page:
    """What came next, how likely it was, what it cost, and what was guessed."""
    rows = found.positions
    digits = max(look.digits, 2)
    columns = [
        [str(row.position) for row in rows],
        [label(row.token) for row in rows],
        [label(row.next_token) for row in rows],
        numbers.column([row.probability for row in rows], digits),
        [str(row.rank) for row in rows],
        numbers.column([row.loss for row in rows], digits),
        [label(row.best.text) for row in rows],
        numbers.column([row.best.probability for row in rows], digits),
    ]
    headers = ("", "after", "comes", "probability", "rank", "loss", "best guess", "its probability")
    return [
        page.heading(model),
        page.tokens_line(prompt),
        page.headline(
            "loss.headline", right=sum(row.rank == 1 for row in rows), count=len(rows),
            mean=numbers.number(found.mean, digits),
            perplexity=numbers.number(found.perplexity, 1),
        ),
        page.say("loss.what", count=len(rows)),
        page.title("loss.title"),
        page.columns_table(headers, columns, left=(1, 2, 6)),
    ]  # fmt: skip

"""The page of `attn loss`: one row per position, then the mean and the perplexity."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attn_cli.records import Facts, Prompt
from attn_cli.views import numbers
from attn_cli.views.items import Column, Columns, Heading, Page, Say, say, what_ifs
from attn_cli.views.text import label
from attn_cli.words import counted, note

if TYPE_CHECKING:
    from attn_cli.analysis.loss import Loss


def page(
    model: Facts, prompt: Prompt, found: "Loss", settings: Mapping[str, Any] = MappingProxyType({})
) -> Page:
    """What came next, how likely it was, what it cost, and what was guessed."""
    rows = found.positions
    ranks = ["–" if math.isnan(row.loss) else str(row.rank) for row in rows]
    columns = (
        Column("", [str(row.position) for row in rows], "right"),
        Column(note("column.after"), [label(row.token) for row in rows], "left"),
        Column(note("loss.column_comes"), [label(row.next_token) for row in rows], "left"),
        Column(note("column.probability"), [row.probability for row in rows], "fine"),
        Column(note("loss.column_rank"), ranks, "right"),
        Column(note("loss.column_loss"), [row.loss for row in rows], "fine"),
        Column(note("loss.column_best"), [label(row.best.text) for row in rows], "left"),
        Column(note("loss.column_its"), [row.best.probability for row in rows], "fine"),
    )
    predictions = counted(len(rows), "loss.trained_one", "loss.trained_many")
    return [
        Heading(model, prompt),
        *what_ifs(settings),
        _headline(found, model.vocabulary),
        say("loss.open") if settings.get("mask") else say("loss.what", predictions=predictions),
        say("loss.formula"),
        Columns(note("loss.title"), columns),
    ]


def _headline(found: "Loss", vocabulary: int) -> Say:
    numbered = [row for row in found.positions if not math.isnan(row.loss)]
    right, count = sum(row.rank == 1 for row in numbered), len(found.positions)
    if len(numbered) < count:
        return say("loss.nan", "headline", broken=count - len(numbered), count=count, right=right)
    # Worse than an even guess: the perplexity counts no choices then.
    wrong, guess = found.perplexity > vocabulary, math.log(vocabulary)
    mean, blind = numbers.together(found.mean, guess)
    means = (
        note("loss.confident", vocabulary=vocabulary, blind=blind) if wrong
        else note("loss.uncertain", perplexity=numbers.number(found.perplexity, 1))
    )  # fmt: skip
    return say(
        "loss.one" if count == 1 else "loss.headline", "headline", right=right, count=count,
        mean=mean if wrong else numbers.Number(found.mean, [found.mean]), means=means,
    )  # fmt: skip

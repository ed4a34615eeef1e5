"""The page of `attn sample`: each candidate through temperature and filters, then the draw."""

from typing import TYPE_CHECKING

from attn_cli.records import Facts, Prompt
from attn_cli.views import numbers
from attn_cli.views.items import Column, Columns, Heading, Page, Say, say, what_ifs
from attn_cli.views.text import label, labels, visible
from attn_cli.words import note

if TYPE_CHECKING:
    from attn_cli.analysis.sample import Sample


def page(model: Facts, prompt: Prompt, found: "Sample", settings: dict) -> Page:
    """`settings` holds the values of temperature, filters, draws and the seed."""
    names, total, seed = labels(prompt.last.labels), model.vocabulary, settings["seed"]
    order = ", ".join(f"{name} {settings[name]:g}" for name in found.filters)
    items: Page = [
        Heading(model, prompt),
        *what_ifs(settings),
        _headline(found, settings["temperature"], total),
        say("sample.formula" if settings["temperature"] else "sample.formula_zero"),
        say("sample.order" if len(found.filters) == 1 else "sample.filters", order=order),
        _candidates(found, query=names[-1], total=total),
    ]
    if found.sweep:
        items.append(_sweep(found))
    if found.counts:
        title = note("sample.counts", draws=settings["draws"], seed=seed)
        return [*items, Columns(title, _counts(found))]
    drawn = (
        Column(note("sample.column_position"), [str(t.position) for t in found.drawn], "right"),
        Column(note("column.token"), [label(token.text) for token in found.drawn], "left"),
        Column(note("column.probability"), [t.probability for t in found.drawn], "fine"),
    )
    told = visible(prompt.text if prompt.has_text else " ".join(labels(prompt.labels)))
    written = (prompt.target.text if prompt.target else "") + found.text
    items.append(Columns(note("sample.drawn", seed=seed), drawn))
    return [*items, say("sample.text", prompt=told, text=visible(written))]


def _headline(found: "Sample", temperature: float, total: int) -> Say:
    first = found.candidates[0]
    if temperature == 0:
        return say("sample.greedy", "headline", token=label(first.text))
    if temperature == 1:
        return _filtered(found, total)
    moved, loses, gains = found.shift
    if not moved:
        return say("sample.unmoved", "headline", temperature=f"{temperature:g}")
    all_moved, lost, gained = numbers.together(
        moved, loses.before - loses.after, gains.after - gains.before
    )
    return say(
        "sample.moves", "headline", temperature=f"{temperature:g}", moved=all_moved, lost=lost,
        gained=gained, loser=label(loses.text), gainer=label(gains.text),
    )  # fmt: skip


def _filtered(found: "Sample", total: int) -> Say:
    """At temperature 1 only the filters change anything."""
    first, filters = found.candidates[0], found.filters[1:]
    if not filters:
        return say("sample.neutral", "headline")
    before, after = numbers.together(first.probability, first.after[-1])
    return say(
        "sample.filtered", "headline", filters=", ".join(filters), kept=found.kept, total=total,
        token=label(first.text), before=before, after=after,
    )  # fmt: skip


def _candidates(found: "Sample", *, query: str, total: int) -> Columns:
    title = note("sample.candidates", query=query, kept=found.kept, total=total)
    rows, more = found.candidates, found.others
    rest = [note("column.others", count=more.count)] if more.count else []
    logits = [c.logit for c in rows]

    def shares(listed: list[float], of_others: float) -> list[float]:
        return [*listed, *(of_others for _ in rest)]

    after = [shares([c.after[i] for c in rows], more.after[i]) for i in range(len(found.filters))]
    before = shares([c.probability for c in rows], more.probability)
    columns = (
        Column("", [*(str(c.rank) for c in rows), *("" for _ in rest)], "right"),
        Column(note("column.token"), [*(label(c.text) for c in rows), *rest], "left"),
        Column(
            note("column.logit"),
            [*(numbers.Number(logit, logits) for logit in logits), *("" for _ in rest)], "right",
        ),
        Column(note("sample.column_before"), before, "fine"),
        *(Column(name, cells, "fine") for name, cells in zip(found.filters, after, strict=True)),
        Column("", after[-1], "bar"),
    )  # fmt: skip
    return Columns(title, columns)


def _sweep(found: "Sample") -> Columns:
    rest = [note("column.others", count=found.others.count)] if found.others.count else []
    names = [*(label(c.text) for c in found.candidates), *rest]
    heats = (
        Column(
            f"{heat.temperature:g}",
            [*heat.probabilities, *(max(0.0, 1 - sum(heat.probabilities)) for _ in rest)], "fine",
        )
        for heat in found.sweep
    )  # fmt: skip
    return Columns(note("sample.sweep"), (Column(note("column.token"), names, "left"), *heats))


def _counts(found: "Sample") -> tuple[Column, ...]:
    """The tokens listed, and in the last row all others that could be drawn."""
    more = found.other_counts
    rows = [(label(c.text), c.expected, c.observed, c.count) for c in found.counts]
    if more.tokens:
        others = note("column.others", count=more.tokens)
        rows.append((others, more.expected, more.observed, more.count))
    names, expected, observed, counts = zip(*rows, strict=True)
    return (
        Column(note("column.token"), names, "left"),
        Column(note("sample.column_expected"), expected, "fine"),
        Column(note("sample.column_observed"), observed, "fine"),
        Column(note("sample.column_count"), [str(count) for count in counts], "right"),
        Column("", observed, "bar"),
    )

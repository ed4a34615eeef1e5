"""The page of `attn sample`: each candidate through temperature and filters, then the draw."""

from typing import TYPE_CHECKING

from attn_cli.records import Facts, Prompt
from attn_cli.views import numbers
from attn_cli.views.items import Column, Columns, Heading, Page, Say, say
from attn_cli.views.text import label, labels, visible
from attn_cli.words import note

if TYPE_CHECKING:
    from attn_cli.analysis.sample import Sample


def page(model: Facts, prompt: Prompt, found: "Sample", settings: dict) -> Page:
    """`settings` holds the values of temperature, filters, draws and the seed."""
    names, total, seed = labels(prompt.labels), model.vocabulary, settings["seed"]
    order = ", ".join(f"{name} {settings[name]:g}" for name in found.filters)
    items: Page = [
        Heading(model, prompt),
        _headline(found, settings["temperature"], total),
        say("sample.order", order=order),
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
    told = visible(prompt.text if prompt.has_text else " ".join(names))
    items.append(Columns(note("sample.drawn", seed=seed), drawn))
    return [*items, say("sample.text", prompt=told, text=visible(found.text))]


def _headline(found: "Sample", temperature: float, total: int) -> Say:
    first = found.candidates[0]
    if temperature == 0:
        return say("sample.greedy", "headline", token=label(first.text))
    if temperature == 1:
        return _filtered(found, total)
    lost = first.probability - first.after[0]
    gains = [(c.after[0] - c.probability, c) for c in found.candidates[1:]]
    gain, other = max(gains, key=lambda pair: pair[0] * (1 if lost > 0 else -1), default=(0, first))
    taken, given = numbers.together(abs(lost), abs(gain))
    back = "sample.and_gives" if lost > 0 else "sample.and_takes"
    return say(
        "sample.takes" if lost > 0 else "sample.gives", "headline", temperature=f"{temperature:g}",
        amount=taken, token=label(first.text),
        others=note(back, amount=given, token=label(other.text)) if gain else "",
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
    rows = found.candidates
    columns = (
        Column("", [str(c.rank) for c in rows], "right"),
        Column(note("column.token"), [label(c.text) for c in rows], "left"),
        Column(note("sample.column_logit"), [c.logit for c in rows], "fine"),
        Column(note("sample.column_before"), [c.probability for c in rows], "fine"),
        *(Column(name, [c.after[i] for c in rows], "fine") for i, name in enumerate(found.filters)),
        Column("", [c.after[-1] for c in rows], "bar"),
    )
    return Columns(title, columns)


def _sweep(found: "Sample") -> Columns:
    names = [label(c.text) for c in found.candidates]
    heats = (Column(f"{h.temperature:g}", h.probabilities, "fine") for h in found.sweep)
    columns = (Column(note("column.token"), names, "left"), *heats)
    return Columns(note("sample.sweep"), columns)


def _counts(found: "Sample") -> tuple[Column, ...]:
    rows = found.counts
    return (
        Column(note("column.token"), [label(c.text) for c in rows], "left"),
        Column(note("sample.column_expected"), [c.expected for c in rows], "fine"),
        Column(note("sample.column_observed"), [c.observed for c in rows], "fine"),
        Column(note("sample.column_count"), [str(c.count) for c in rows], "right"),
        Column("", [c.observed for c in rows], "bar"),
    )

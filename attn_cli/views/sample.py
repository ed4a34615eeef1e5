"""The page of `attn sample`: each candidate through temperature and filters, then the draw."""

from attn_cli.analysis.sample import Sample
from attn_cli.records import Facts, Prompt
from attn_cli.views import numbers, page
from attn_cli.views.matrix import Look
from attn_cli.views.text import label, visible

_BAR = 16


def render(model: Facts, prompt: Prompt, found: Sample, settings: dict, look: Look) -> page.Page:
    """`settings` holds the values of temperature, filters, draws and the seed."""
    digits = max(look.digits, 2)
    names = page.labels(prompt)
    order = ", ".join(f"{name} {settings[name]:g}" for name in found.filters)
    items: page.Page = [page.heading(model), page.tokens_line(prompt)]
    items += [_headline(found, settings["temperature"], model.vocabulary, digits)]
    items += [page.say("sample.order", order=order)]
    items += [
        page.title("sample.candidates", query=names[-1], kept=found.kept, total=model.vocabulary),
        _candidates(found, digits),
    ]
    if found.sweep:
        items += [page.title("sample.sweep"), _sweep(found, digits)]
    if found.counts:
        title = page.title("sample.counts", draws=settings["draws"], seed=settings["seed"])
        return [*items, title, _counts(found, digits)]
    drawn = page.columns_table(
        ("position", "token", "probability"),
        [
            [str(token.position) for token in found.drawn],
            [label(token.text) for token in found.drawn],
            numbers.column([token.probability for token in found.drawn], digits),
        ],
        left=(1,),
    )
    items += [page.title("sample.drawn", seed=settings["seed"]), drawn]
    told = visible(prompt.text if prompt.has_text else " ".join(names))
    return [*items, page.say("sample.text", prompt=told, text=visible(found.text))]


def _headline(found: Sample, temperature: float, total: int, digits: int) -> object:
    candidates = found.candidates
    first = candidates[0]
    if temperature == 0:
        return page.headline("sample.greedy", token=label(first.text))
    if temperature == 1:
        return _filtered(found, total, digits)
    lost = first.probability - first.after[0]
    gains = [(c.after[0] - c.probability, c) for c in candidates[1:]]
    gain, other = max(gains, key=lambda pair: pair[0] * (1 if lost > 0 else -1), default=(0, first))
    texts = numbers.column([abs(lost), abs(gain)], digits)
    verb, direction, back = ("takes", "from", "gives {} to {}") if lost > 0 else (
        "gives", "to", "takes {} from {}"
    )  # fmt: skip
    others = " and " + back.format(texts[1], label(other.text)) if gain else ""
    return page.headline(
        "sample.headline", temperature=f"{temperature:g}", verb=verb, amount=texts[0],
        direction=direction, token=label(first.text), others=others,
    )  # fmt: skip


def _filtered(found: Sample, total: int, digits: int) -> object:
    """At temperature 1 only the filters change anything."""
    first, filters = found.candidates[0], found.filters[1:]
    if not filters:
        return page.headline("sample.neutral")
    before, after = numbers.column([first.probability, first.after[-1]], digits)
    return page.headline(
        "sample.filtered", filters=", ".join(filters), kept=found.kept, total=total,
        token=label(first.text), before=before, after=after,
    )  # fmt: skip


def _candidates(found: Sample, digits: int) -> object:
    rows = found.candidates
    columns = [
        [str(c.rank) for c in rows],
        [label(c.text) for c in rows],
        numbers.column([c.logit for c in rows], digits),
        numbers.column([c.probability for c in rows], digits),
    ]
    for i in range(len(found.filters)):
        columns.append(numbers.column([c.after[i] for c in rows], digits))
    columns.append([numbers.bar(c.after[-1], _BAR) for c in rows])
    headers = ["", "token", "logit", "at 1", *found.filters, ""]
    return page.columns_table(headers, columns, left=(1, len(headers) - 1))


def _sweep(found: Sample, digits: int) -> object:
    columns = [[label(c.text) for c in found.candidates]]
    columns += [numbers.column(heat.probabilities, digits) for heat in found.sweep]
    return page.columns_table(["token", *(f"{h.temperature:g}" for h in found.sweep)], columns)


def _counts(found: Sample, digits: int) -> object:
    rows = found.counts
    columns = [
        [label(c.text) for c in rows],
        numbers.column([c.expected for c in rows], digits),
        numbers.column([c.observed for c in rows], digits),
        [str(c.count) for c in rows],
        [numbers.bar(c.observed, _BAR) for c in rows],
    ]
    return page.columns_table(("token", "expected", "observed", "count", ""), columns, left=(0, 4))

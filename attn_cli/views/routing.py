"""Which experts a mixture's tokens were sent to, at the end of the page of `attn trace`."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from attn_cli.records import Address, Facts, Trace
from attn_cli.routing import Experts
from attn_cli.views import numbers
from attn_cli.views.items import Column, Columns, Say, Words, paragraph, say
from attn_cli.views.text import labels
from attn_cli.words import counted, note

# Rows of all layers together that are shown unasked; else each layer has one row.
_MOST_ROWS = 24
_MOST_COUNTED = 5
_NEAR = 1e-3


def routing(
    trace: Trace,
    shown: Mapping[Address, tuple[Sequence[int], Sequence[int]]],
    query: int,
    *,
    full: bool,
) -> Iterator[object]:
    """The experts of each token that is shown, layer by layer; where that is too much, those of the
    followed `query` alone. Either way how often each expert was used by all tokens."""
    if not trace.experts:
        return
    names = labels(trace.prompt.last.labels)
    yield title(trace.experts)
    yield paragraph(*said(trace.model, trace.experts))
    rows = [_rows(of, shown) for of in trace.experts]
    if full or sum(map(len, rows)) <= _MOST_ROWS:
        for of, queries in zip(trace.experts, rows, strict=True):
            yield _of_tokens(of, queries, names)
            yield say("routing.used", tokens=_tokens(of), used=used(of), layer=of.layer)
    else:
        yield _of_layers(trace.experts, query, names)


def title(layers: Sequence[Experts]) -> Say:
    """How many experts of how many a token passes."""
    changed = any(of.what_if for of in layers)
    key = "routing.title_what_if" if changed else "routing.title"
    return say(key, "title", used=layers[0].chosen.shape[1], count=layers[0].count)


def said(facts: Facts, layers: Sequence[Experts]) -> Iterator[Say]:
    """What a router does, as far as the model is known."""
    count, used = layers[0].count, layers[0].chosen.shape[1]
    yield say("routing.what", count=count, experts=counted(used, "routing.one", "routing.many"))
    if facts.experts[2:] and facts.experts[2]:
        yield say("routing.shared")
    if facts.expert_groups:
        kept, groups = facts.expert_groups
        yield say("routing.groups", groups=groups, kept=kept)
    if facts.corrected:
        yield say("routing.corrected")
    sums = np.concatenate([of.shares.sum(axis=1) for of in layers])
    if (np.abs(sums - 1) >= _NEAR).any():
        yield say("routing.not_one")


def _rows(of: Experts, shown: Mapping[Address, tuple[Sequence[int], Sequence[int]]]) -> list[int]:
    """The rows of a layer that are shown."""
    queries = {*shown.get(Address(of.stack, "self", of.layer), (of.queries, ()))[0]}
    return [row for row, query in enumerate(of.queries) if query in queries]


def _of_tokens(of: Experts, rows: Sequence[int], names: Sequence[str]) -> Columns:
    tokens = Column(note("column.token"), [names[of.queries[row]] for row in rows], "left")
    chosen = Column(note("routing.pairs"), [_pairs(of, row) for row in rows], "left")
    return Columns(note("routing.layer", layer=of.layer), [tokens, chosen], "ends")


def _of_layers(layers: Sequence[Experts], query: int, names: Sequence[str]) -> Columns:
    rows = [
        of.queries.index(query) if query in of.queries else len(of.queries) - 1 for of in layers
    ]
    name = names[layers[0].queries[rows[0]]]
    columns = [
        Column(note("routing.layers"), [str(of.layer) for of in layers], "right"),
        Column(name, [_pairs(of, row) for of, row in zip(layers, rows, strict=True)], "left"),
        Column(note("routing.often"), [used(of) for of in layers], "left"),
    ]
    return Columns(note("routing.table", query=name, tokens=_tokens(layers[0])), columns, "ends")


def _pairs(of: Experts, row: int) -> Words:
    """`5: 0.62  3: 0.38`: each expert of a token with its share."""
    shares = numbers.together(*of.shares[row].tolist())
    pairs = [
        note("routing.pair", expert=expert, share=share)
        for expert, share in zip(of.chosen[row].tolist(), shares, strict=True)
    ]
    return _joined(pairs, "routing.gap")


def used(of: Experts) -> Words:
    """How many tokens used each expert, the most used first."""
    times = np.bincount(of.chosen.ravel(), minlength=of.count)
    order = np.argsort(-times, kind="stable")
    order = order[times[order] > 0].tolist()
    shown = order if len(order) == _MOST_COUNTED + 1 else order[:_MOST_COUNTED]
    parts = [note("routing.times", expert=n, times=int(times[n])) for n in shown]
    if len(order) > len(shown):
        parts.append(note("routing.others", count=len(order) - len(shown)))
    if len(order) < of.count:
        parts.append(counted(of.count - len(order), "routing.unused_one", "routing.unused"))
    return _joined(parts, "routing.comma")


def _joined(parts: Sequence[Words], key: str) -> Words:
    return parts[0] if len(parts) == 1 else note(key, first=parts[0], rest=_joined(parts[1:], key))


def _tokens(of: Experts) -> Words:
    return counted(len(of.queries), "page.tokens_one", "page.tokens_many")

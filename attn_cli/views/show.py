"""The pages of saved documents: those of the commands that wrote them, as far as documents go.

What a document does not hold is not made up: it is left out, and the page says so.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from attn_cli import vocabulary
from attn_cli.analysis.heads import Heads, Layers
from attn_cli.records import Attention, Prediction, Trace
from attn_cli.views import (
    circuit,
    compare,
    components,
    contexts,
    cost,
    embed,
    entry,
    exercise,
    heads,
    lens,
    loss,
    mask,
    models,
    prove,
    ranking,
    sample,
    scan,
    shifts,
    show_trace,
    tokens,
    train,
    verify,
    why,
)
from attn_cli.views.items import Grids, Page, Say, Words
from attn_cli.views.look import Look
from attn_cli.views.saved import Saved, masks_of, of_json
from attn_cli.words import note

_ALL = frozenset(range(1, 7))


class Shown(NamedTuple):
    """A page of a document, and what the page of its command has that the document `lacks`."""

    page: Page
    lacks: Sequence[Words] = ()


def page(saved: Saved, look: Look, *, picture: bool = False) -> Page:
    """The page of a document that is no trace, with so many decimals and rows; or what of it is a
    `picture`, where it has any.

    What raises an error of Python here is a document whose parts do not fit together.
    """
    pages = {**PAGES, **PICTURES} if picture else PAGES
    return show_trace.told(*pages[saved.command](saved, look))


# --- the other commands --------------------------------------------------------------------------


def _heads(saved: Saved, _: Look) -> Shown:
    found, kind = saved.result, type(saved.result).__name__
    if kind == "Proof":
        return Shown(prove.page(saved.model, saved.prompt, found, saved.settings))
    if kind == "Circuit":
        items = circuit.page(saved.model, saved.prompt, found)
        return Shown(items, _of_model(saved))
    trace = _of_heads(saved)
    if isinstance(found, Layers):
        return Shown(ranking.page(trace, found))
    items = heads.page(trace, found)
    if not found.weights.size:
        kept = [item for item in items if not isinstance(item, Grids)]
        return Shown(kept, [note("show.weights")])
    return Shown(items)


def _heads_picture(saved: Saved, look: Look) -> Shown:
    found = saved.result
    blocks = found.layers if isinstance(found, Layers) else [found]
    if not all(isinstance(one, Heads) and one.weights.size for one in blocks):
        return _heads(saved, look)
    return Shown(heads.picture(_of_heads(saved), blocks))


def _of_heads(saved: Saved) -> Trace:
    """A trace of which pages of heads need no arrays."""
    found = saved.result
    blocks = found.layers if isinstance(found, Layers) else [found]
    shared = {"model": saved.model, "prompt": saved.prompt, "settings": saved.settings}
    return Trace(**shared, attention=tuple(_seen(saved, one) for one in blocks))


def _seen(saved: Saved, one: Heads) -> Attention:
    """A block without its arrays, of which the page needs none."""
    queries, keys = (
        tuple(range(len(side.tokens))) for side in saved.prompt.sides(one.stack, one.kind)
    )
    square = (len(queries), len(keys))
    if one.weights.size and one.weights.shape != (len(one.heads), *square):
        raise ValueError
    if one.sink_share.size and one.sink_share.shape != (len(one.heads), len(queries)):
        raise ValueError
    if one.weights.size and (one.visible.shape != square or one.visible.dtype != bool):
        raise ValueError
    _check_places([one.query], len(queries))
    for head in one.heads:
        _check_places(head.looks_at, len(keys))
    return Attention(
        stack=one.stack, kind=one.kind, layer=one.layer, heads=tuple(h.head for h in one.heads),
        kv_heads=(), queries=queries, keys=keys, scale=1.0, arrays={},
    )  # fmt: skip


def _mask(saved: Saved, _: Look) -> Shown:
    found, prompt = saved.result, saved.prompt
    queries, keys = (len(side.tokens) for side in prompt.sides(found.stack, found.kind))
    for cell in (*found.removed, *found.added, *found.valued):
        _check_places([cell.query], queries)
        _check_places([cell.key], keys)
    squares = (found.visible_before, found.visible_after, found.weights_before, found.weights_after)
    rows = [found.hidden_share, found.moved, found.output_norm, found.output_change]
    rows += [a for a in (found.sink_share_before, found.sink_share_after) if a.size]
    if {a.shape for a in squares} != {(queries, keys)} or {a.shape for a in rows} != {(queries,)}:
        raise ValueError
    cells = [cell._replace(masked=-np.inf) for cell in found.removed]  # null, as JSON has no ∞
    at = masks_of(prompt.tokens)[:1] if saved.model.masked else [len(prompt.last.tokens) - 1]
    after = tuple(Prediction(position=i, provenance="", candidates=found.next_after) for i in at)
    trace = Trace(
        model=saved.model, prompt=prompt, settings=saved.settings, attention=(), next=after,
    )  # fmt: skip
    names = mask.names_of(saved.settings, saved.settings["compared_with"])
    lacks = [note("show.window")] * (found.kind == "self" and saved.model.partial)
    return Shown(mask.page(trace, replace(found, removed=tuple(cells)), *names), lacks)


# What the page of the lens says of norms and biases.
_OF_MODEL = ("lens.what", "lens.added")


def _lens(saved: Saved, _: Look) -> Shown:
    _check_places((one.position for one in saved.result.positions), len(saved.prompt.last.tokens))
    items = lens.page(saved.model, saved.prompt, saved.result, saved.settings)
    if saved.model.partial:
        items = [i for i in items if not (isinstance(i, Say) and i.words.key in _OF_MODEL)]
    return Shown(items, _of_model(saved))


def _of_model(saved: Saved) -> list[Words]:
    """What a document lacks that has no facts of its model."""
    return [note("show.model")] * saved.model.partial


def _check_places(places: Iterable[int], count: int) -> None:
    """Raises ValueError for a place that is none."""
    if not all(0 <= place < count for place in places):
        raise ValueError


class _Run(NamedTuple):
    """The settings of a training that its page tells of."""

    objective: str
    mask: str
    watched_prompt: str


class _Step(NamedTuple):
    step: int
    loss: float
    floor: float


def _train(saved: Saved, _: Look) -> Shown:
    found, settings = saved.result, saved.settings
    run = _Run(*(settings.get(name, "") for name in _Run._fields))
    first = found.steps - len(found.losses)
    losses = zip(found.losses, found.floors, strict=True)
    history = [_Step(first + i, *both) for i, both in enumerate(losses, 1)]
    steps = int(settings["steps"])
    if not 0 <= first <= found.steps <= steps:
        raise ValueError
    items = [*(train.losses(history, steps) if history else ()),
             *train.result(found, run, run.watched_prompt)]  # fmt: skip
    return Shown(items, [note("show.watched")])


def _models(saved: Saved, _: Look) -> Shown:
    if saved.model is None:
        return Shown(models.listing(saved.result))
    return Shown(models.contents(saved.model, saved.result))


def _embed(saved: Saved, _: Look) -> Shown:
    found, kind = saved.result, type(saved.result).__name__
    if kind == "Nearest":
        _check_counts([found.nearest, found.left_out])
        return Shown(embed.page(saved.model, saved.prompt, found))
    for one in found.sides:
        _check_places([one.position], len(one.tokens))
        if len(one.ids) != len(one.tokens):
            raise ValueError
    if any(len(layer.lengths) != len(found.sides) for layer in found.layers):
        raise ValueError
    return Shown(contexts.page(saved.model, found, saved.settings))


def _compare(saved: Saved, _: Look) -> Shown:
    if type(saved.result).__name__ == "Shifts":
        if not saved.result.shifts:
            raise ValueError
        for one in saved.result.shifts:
            _check_places([one.head], saved.model.heads_of(one.stack))
        return Shown(shifts.page(saved.model, saved.result))
    found, prompts = saved.result, (saved.prompt, saved.result.right.prompt)
    for one in found.alignment:
        for read, places in zip(prompts, (one.left, one.right), strict=True):
            _check_places(places, len(read.of(one.stack).tokens))
    for row in found.layers:
        if row.axes != vocabulary.ARRAYS[row.array].axes or len(row.at) != len(row.axes):
            raise ValueError
        _check_counts([row.at, row.unlike])
    for cell in found.cells:
        _check_places([cell.head], saved.model.heads_of(cell.stack))
        _check_counts(cell)
    for one in found.prediction:
        for read, at in zip(prompts, (one.left_position, one.right_position), strict=True):
            _check_places([at], len(read.last.tokens))
    return Shown(compare.page(saved.model, saved.prompt, found))


def _compare_picture(saved: Saved, look: Look) -> Shown:
    shown = _compare(saved, look)
    if type(saved.result).__name__ == "Shifts":
        return Shown(shifts.picture(saved.model, saved.result))
    return shown


def _cost(saved: Saved, _: Look) -> Shown:
    _check_counts(saved.result)
    return Shown(cost.page(saved.model, saved.result))


def _why(saved: Saved, look: Look) -> Shown:
    model, prompt, found, settings = saved.model, saved.prompt, saved.result, saved.settings
    kind, drawn = type(found).__name__, (look.digits, look.full)
    if kind == "Attribution":
        _check_places([found.position], len(prompt.last.tokens))
        return Shown(components.logit_page(model, prompt, found, settings, *drawn))
    for one in found.cells if kind == "Chain" else [found]:
        queries, keys = (len(side.tokens) for side in prompt.sides(one.stack, one.kind))
        _check_places([one.head], model.heads_of(one.stack))
        if kind == "Entry":
            _check_places([one.position], keys if one.array in ("k", "v") else queries)
            continue
        _check_places([one.query], queries)
        _check_places([one.key, *(row.key for row in getattr(one, "row", ()))], keys)
    if kind == "Chain":
        return Shown(components.page(model, prompt, found, settings, *drawn))
    trace = Trace(model=model, prompt=prompt, settings=settings, attention=())
    return Shown((entry if kind == "Entry" else why).page(trace, found, *drawn))


def _tokens(saved: Saved, _: Look) -> Shown:
    # Entries are looked up as they are spelled; what is shown of them is made safe there.
    found = of_json(type(saved.result), saved.document["result"], str)
    two = type(found).__name__ == "Aligned"
    for one in found.readings if two else [found]:
        rows = [*(row.position for row in one.tokens), *(word.first for word in one.words)]
        _check_places([*rows, *one.twice], len(one.tokens))
        _check_counts([one.vocabulary, one.context, one.characters, one.own, one.beyond])
    if two:
        _check_counts([found.boundaries, found.common])
        for at, one in enumerate(found.readings):
            _check_places(
                (i for row in found.stretches for i in (row.first, row.second)[at]), len(one.tokens)
            )
        return Shown(tokens.pages(found, tokens.Choice()))
    return Shown(tokens.page(found, tokens.Choice(), saved.model))


def _scan(saved: Saved, _: Look) -> Shown:
    scan.check(saved.model, saved.result)
    return Shown(scan.page(saved.model, saved.result, saved.settings))


def _check_counts(found: Any) -> None:
    """Raises ValueError for a whole number below 0 anywhere in these."""
    if isinstance(found, tuple | list):
        for one in found:
            _check_counts(one)
    elif isinstance(found, int) and found < 0:
        raise ValueError


# The page of each command's document, one line each.
PAGES: Mapping[str, Callable[[Saved, Look], Shown]] = {
    "heads": _heads,
    "mask": _mask,
    "lens": _lens,
    "sample": lambda s, _: Shown(sample.page(s.model, s.prompt, s.result, s.settings)),
    "loss": lambda s, _: Shown(loss.page(s.model, s.prompt, s.result, s.settings)),
    "embed": _embed,
    "compare": _compare,
    "why": _why,
    "train": _train,
    "verify": lambda s, _: Shown(verify.page(s.model, s.prompt, s.result)),
    "cost": _cost,
    "tokens": _tokens,
    "models": _models,
    "scan": _scan,
    "exercise": lambda s, _: Shown(exercise.saved_page(s.model, s.prompt, s.result, s.settings)),
}
# What of the page is a picture.
PICTURES: Mapping[str, Callable[[Saved, Look], Shown]] = {
    "compare": _compare_picture,
    "heads": _heads_picture,
    "mask": lambda s, look: (one := _mask(s, look))._replace(page=mask.without_columns(one.page)),
}

"""The page of `attn trace`: the six steps of each chosen layer and head, then the prediction."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from attn_cli import vocabulary
from attn_cli.maths.attention import PRODUCT
from attn_cli.maths.layers import cosine
from attn_cli.notes import WRITTEN
from attn_cli.notes import place as of_layer
from attn_cli.records import Address, Attention, Prediction, Trace
from attn_cli.views import bare, ending, entering, numbers, sinks
from attn_cli.views.head_view import HeadView
from attn_cli.views.items import (
    NOTHING,
    Grids,
    Heading,
    Matrix,
    Page,
    Say,
    Shares,
    StepTitle,
    Words,
    paragraph,
    say,
    what_ifs,
)
from attn_cli.views.routing import routing
from attn_cli.views.text import labels
from attn_cli.words import Note, counted, note

MOST_TABLES, MOST_PREDICTIONS = 200, 12
_TABLES_OF_STEP = {1: 2, 2: 3, 3: 1, 4: 2, 5: 1, 6: 4}
# What a step's page needs of other steps, to say what happened in this sentence.
EXPLAINED_WITH = {
    2: ("x", "normed"), 3: ("q", "k", "visible"), 4: ("weights",),
    5: ("masked", "sink", "visible"), 6: ("weights", "sink_share", "v"),
}  # fmt: skip
Items = Iterator[NamedTuple]
_EVERYTHING: Mapping[Address, tuple[Sequence[int], Sequence[int]]] = MappingProxyType({})


def count_tables(trace: Trace, steps: frozenset[int]) -> int:
    """About how many tables `page` would have."""
    per_head = sum(count for step, count in _TABLES_OF_STEP.items() if step in steps)
    return sum(len(block.heads) * per_head for block in trace.attention)


@np.errstate(all="ignore")
def page(
    trace: Trace,
    *,
    steps: frozenset[int],
    shown: Mapping[Address, tuple[Sequence[int], Sequence[int]]] = _EVERYTHING,
    follow: bool = False,
    full: bool = False,
    after: bool = False,
) -> Page:
    """The whole page. `shown` are the queries and keys of a block to show as rows and columns, if
    not all; `follow` the last of these queries, instead of the prompt's own token to follow;
    `after`: the whole of `mlp_output` too."""
    heads = [(block, place) for block in trace.attention for place in range(len(block.heads))]
    one = _where(trace, *heads[0]) if len(heads) == 1 else ""
    found: Page = [Heading(trace.model, trace.prompt, one)]
    marked = any(block.what_if for block in trace.attention)
    found.extend(what_ifs(trace.settings, "trace.what_if" if marked else "page.what_if"))
    whole = steps == frozenset(range(1, 7))
    views = []
    for block, place in heads:
        rows = shown.get(block.address, (block.queries, block.keys))
        views.append(view_of(trace, block, place, rows, follow=follow, full=full))
    if whole:
        name = views[0].names[views[0].query]
        onward = any(_followed(entry, views[0]) for entry in trace.next)
        found.extend(ending.opening(trace, views[0] if one else None, name, onward=onward))
    for view in views if steps else ():
        if not one:
            found.append(Say(_where(trace, view.block, view.place), "block"))
        found.extend(steps_of(view, steps, first=not view.place))
        if view.place == len(view.block.heads) - 1:
            found.extend(_after(view, whole=whole, after=after))
    found.extend(predictions(trace, views[0] if whole else None, full=full))
    query = views[0].query if views else trace.prompt.last.followed
    found.extend(routing(trace, shown, query, full=full))
    found.extend(Say(said, "lead") for said in trace.notes if whole and said.key == WRITTEN)
    best = _best_key(view) if whole and one else -1
    if best >= 0 and view.head not in view.block.removed:
        found.extend(ending.try_next(view, best))
    return found


def overview(
    trace: Trace, shown: Mapping[Address, tuple[Sequence[int], Sequence[int]]] = _EVERYTHING
) -> Page:
    """The weights of every head as grids, block by block, and the prediction; `shown` as in
    `page`."""
    return [*picture(trace, shown), *predictions(trace, full=False)]


def picture(
    trace: Trace, shown: Mapping[Address, tuple[Sequence[int], Sequence[int]]] = _EVERYTHING
) -> Page:
    """The weights of every head as grids, block by block; `shown` as in `page`."""
    found: Page = [Heading(trace.model, trace.prompt), *what_ifs(trace.settings)]
    for block in trace.attention:
        rows, columns = map(list, shown.get(block.address, (block.queries, block.keys)))
        names, keys = (labels(s.labels) for s in trace.prompt.sides(block.stack, block.kind))
        names, keys = [names[i] for i in rows], [keys[i] for i in columns]
        at_Q, at_K = (
            {token: place for place, token in enumerate(kept)}
            for kept in (block.rows or block.queries, block.keys)
        )
        at = np.ix_([at_Q[query] for query in rows], [at_K[key] for key in columns])
        found.append(Say(of_layer(trace.model, block), "block"))
        told = [block.queries.index(query) for query in rows]
        share = block.sink_share[:, told] if "sink_share" in block.arrays else NOTHING
        weights, crosses = block.weights[:, *at], block.address.crosses
        grids = Grids(names, block.heads, weights, ~block.visible[at], keys, crosses=crosses)
        found.extend(sinks.grids(grids, share))
    return found


def predictions(trace: Trace, view: HeadView | None = None, *, full: bool) -> Items:
    """What comes next; `view` is what a whole page follows."""
    names = labels(trace.prompt.last.labels)
    parameters = any("w_norm" in block.arrays for block in trace.attention[:1])
    shown = trace.next if full else trace.next[:MOST_PREDICTIONS]
    for number, entry in enumerate(shown):
        yield from ending.prediction(
            entry, trace.ending[number : number + 1], trace.model, names[entry.position],
            parameters=parameters, followed=view is None or _followed(entry, view),
        )  # fmt: skip
    if len(trace.next) > len(shown):
        yield say("next.more", "lead", count=len(trace.next) - len(shown))


def view_of(
    trace: Trace,
    block: Attention,
    place: int,
    shown: tuple[Sequence[int], Sequence[int]],
    *,
    follow: bool,
    full: bool,
) -> HeadView:
    """A head of a block, with the queries and the keys to show."""
    queries, keys = map(list, shown)
    names, key_names = (labels(s.labels) for s in trace.prompt.sides(block.stack, block.kind))
    own = trace.prompt.of(block.stack).followed
    return HeadView(
        trace=trace, block=block, head=block.heads[place], place=place,
        arrays=_of_head(trace, block, place), kept=block.rows or block.queries,
        queries=queries, keys=keys,
        query=queries[-1] if follow or own not in queries else own,
        names=names, key_names=key_names, full=full,
    )  # fmt: skip


def _followed(entry: Prediction, view: HeadView) -> bool:
    """Whether a prediction is made at the token that a page follows."""
    return view.block.stack == view.facts.stack and entry.position == view.query


def steps_of(view: HeadView, steps: frozenset[int], *, first: bool) -> Items:
    """The chosen steps of one head; what enters the layer is told with its `first` alone."""
    for number, (step, *needed) in enumerate(_STEPS, 1):
        if number not in steps or not view.has(*needed) or not (first or number > 1):
            continue
        # How vectors are made depends on more of the model than a document holds.
        yield from bare.step(view, number) if view.facts.partial and number < 3 else step(view)


def _after(view: HeadView, *, whole: bool, after: bool) -> Items:
    """What follows the heads of a layer."""
    block, query = view.block, view.query
    if whole:
        routed = any((of.stack, of.layer) == block.address[::2] for of in view.trace.experts)
        yield from ending.after_layer(block, view.facts, query, view.names[query], routed=routed)
    if after and view.has("mlp_output"):
        yield view.rows("mlp_output", view.queries)


def _best_key(view: "HeadView") -> int:
    """The visible key that the followed query looks at most, -1 if it sees none."""
    seen, weights = np.flatnonzero(view.row("visible")), view.row("weights")
    return int(seen[np.argmax(weights[seen])]) if seen.size else -1


def _where(trace: Trace, block: Attention, place: int) -> Note:
    where = of_layer(trace.model, block)
    return note("page.head", where=where, head=block.heads[place])


def _of_head(trace: Trace, block: Attention, place: int) -> dict[str, np.ndarray]:
    group = trace.model.group_of(block.stack)
    places = {"head": place, "kv_head": block.kv_heads.index(block.heads[place] // group)}
    return {
        name: array[places[axis]] if (axis := vocabulary.ARRAYS[name].axes[0]) in places else array
        for name, array in block.arrays.items()
    }


def _dot_products(view: HeadView) -> Items:
    terms = [name for name in vocabulary.TERMS if view.has(name)]
    title = note("dot.title_terms", terms=_plus(terms)) if terms else ""
    yield from (StepTitle(3, title), say("dot.what"))
    if terms:
        yield say("dot.terms", terms=_plus(terms))
        if "positions" in view.trace.settings["without"]:
            yield say("dot.removed")
        yield from (view.cells(name) for name in terms)
    yield view.cells("scores")
    if not view.has("visible", "q"):
        return
    query = view.names[view.query]
    visible = view.row("visible")
    seen = [n for n in view.keys if visible[n]]
    if seen:
        products = view.arrays["q"][view.query] * view.arrays["k"][seen]
        scores = view.row(PRODUCT if PRODUCT in terms else "scores")[seen]
        columns = [PRODUCT if PRODUCT in terms else note("dot.score"), *range(products.shape[1])]
        values = np.concatenate([scores[:, None], products], axis=1)
        yield Matrix(note("dot.table", query=query), values, view.named_keys(seen), columns,
                     note("axes.matrix", rows=note("axis.keys"),
                          columns=note("axis.width")))  # fmt: skip


def _plus(names: Sequence[str]) -> str:
    return " + ".join(names)


def _scale_and_mask(view: HeadView) -> Items:
    block, width, biased = view.block, view.facts.head_width, view.has("bias")
    scale, cap = f"{block.scale:.6g}", f"{block.soft_cap:g}"
    kind = "root" if abs(block.scale * width**0.5 - 1) < 1e-6 else "factor"
    kind = "plain" if block.scale == 1 else kind
    terms = sum(view.has(name) for name in vocabulary.TERMS)
    kind = "terms" if terms and abs(block.scale * (width * terms) ** 0.5 - 1) < 1e-6 else kind
    value = view.trace.settings["mask_value"]
    masked = "−∞" if value is None else numbers.exact(value)
    title = "cap" if block.soft_cap else "biased" if biased else kind
    title += "_plain" if title == "biased" and block.scale == 1 else ""
    yield StepTitle(
        4, note(f"scale.title_{title}", width=width, scale=scale, cap=cap, masked=masked,
                terms=terms),
    )  # fmt: skip
    what = {"root": "scale.what", "factor": "scale.other"}.get(kind, f"scale.{kind}")
    said = [say(what, width=width, root=1 / block.scale, scale=scale, terms=terms)]
    yield paragraph(*said, *[say("scale.capped", cap=cap)] * bool(block.soft_cap))
    if biased:
        if view.facts.slopes:
            slope = numbers.number(view.facts.slopes[view.head], 4)
            last = len(view.key_names) - 1
            yield say(f"scale.biased_{view.facts.alibi}", slope=slope, last=last)
        elif view.facts.positions == "relative":
            yield say("scale.relative")
        yield view.cells("bias")
    yield from (view.cells("scaled"), *_mask(view))
    if view.has("sink"):
        yield say("sink.what", sink=float(view.arrays["sink"]))
    yield view.cells("masked")


def _mask(view: HeadView) -> Items:
    """What is hidden, and why, where it is a mask of a kind."""
    value, cells = view.trace.settings["mask_value"], len(view.names) * len(view.key_names)
    if not view.hidden:
        why = "cross" if view.crosses else view.block.stack
        why = "yet" if why == "decoder" and len(view.names) == 1 else why
        yield say("mask.nothing" if why == "decoder" else f"mask.nothing_{why}")
        return
    said = [say("mask.what", hidden=view.hidden, cells=cells)]
    if value is None:
        said.append(say("mask.infinite"))
    else:
        said.append(say("scale.value", value=numbers.exact(value)))
    if not view.crosses:  # the numbers of queries and keys do not line up there
        said += _kind_of_mask(view)
    yield paragraph(*said)


def _kind_of_mask(view: HeadView) -> list[Say]:
    """That it is causal, or a window, where it is."""
    reach, both, count = view.block.reach, view.block.address.both_sides, len(view.names)
    before = max(reach.before, reach.after)
    if reach.fills(count, count - 1, 0):
        pair = _hidden_pair(view)
        example = note("mask.example", query=pair[0], key=pair[1]) if pair else ""
        if both:
            return [say("mask.causal_alone", example=example)]
        return [say("mask.causal", example=example), say("mask.layout")]
    if before and reach.fills(count, before, before if both else 0):
        tokens = counted(before, "mask.window_one", "mask.window_many")
        return [say("mask.window_both" if both else "mask.window", before=tokens)]
    return []


def _hidden_pair(view: HeadView) -> tuple[str, str] | tuple[()]:
    """A shown query and a shown key that it may not look at: the followed query's key that it
    looks at most, and an early query, if these are shown."""
    best = _best_key(view) if view.has("weights") else -1
    places = {query: place for place, query in enumerate(view.kept)}
    for keys in np.array([key for key in view.keys if key == best], int), np.array(view.keys):
        for query in sorted(view.queries, key=lambda query: abs(query - 1)):
            seen = view.arrays["visible"][places[query]][keys]
            if not seen.all():
                return view.names[query], view.key_names[keys[int(seen.argmin())]]
    return ()


def _softmax(view: HeadView) -> Items:
    temperature, sunk = view.trace.settings["attention_temperature"], view.has("sink_share")
    yield sinks.softmax_title(temperature, sunk=sunk)
    said = [say("softmax.what_sink" if sunk else "softmax.what")]
    if view.has("visible") and view.hidden:
        value = view.trace.settings["mask_value"]
        said.append(say("softmax.hidden" if value is None else "softmax.value"))
    if temperature == 0:
        said.append(say("softmax.cold"))
    elif view.has("masked"):
        of_sink = view.of_sink("masked")[view.query : view.query + 1]
        row = np.append(view.row("masked"), of_sink).astype(np.float64)
        top = float(row.max())
        powers = np.exp((row - top) / temperature) if np.isfinite(top) else np.zeros(1)
        words = {"query": view.names[view.query], "top": top, "total": float(powers.sum())}
        if of_sink.size:
            words["sink"] = note("softmax.sink", power=float(powers[-1]))
        heat = say("softmax.heat", temperature=f"{temperature:g}")
        said += [heat] * (temperature != 1) + [say("softmax.row", **{"sink": "", **words})]
    yield paragraph(*said)
    yield from (view.cells("weights"), say("softmax.here", query=view.names[view.query]))
    share = view.of_sink("weights")[view.query : view.query + 1]
    yield Shares(*sinks.shares(view.key_names, view.row("weights"), share, 4))


def _sum(view: HeadView) -> Items:
    query = view.names[view.query]
    yield StepTitle(6)
    if view.has("weights", "v"):
        yield from (say("sum.what", query=query), _weighted_values(view))
        if view.has("sink_share"):
            share = float(view.arrays["sink_share"][view.query])
            yield say("sum.sink", share=share, rest=float(view.row("weights").sum()))
    yield view.rows("z", view.queries)
    if view.has("w_o"):
        yield view.parameter("w_o")
    if not view.has("head_output", "output"):
        return
    removed = view.head in view.block.removed  # by --without-head
    yield say("sum.removed" if removed else "sum.pull")
    yield view.rows("head_output", view.queries)
    if view.has("w_o", "b_o"):
        yield view.parameter("b_o")
    if not view.facts.partial:
        added = note("sum.bias") if view.has("b_o") else ""
        then, factor = note(f"sum.{view.facts.residual}"), view.facts.residual_factor
        if factor != 1:
            then = note("sum.multiplied", factor=f"{factor:g}", then=then)
        yield say("sum.output", bias=added, then=then)
    yield view.rows("output", view.queries)
    if not removed:
        pull, output = (view.arrays[name][view.query] for name in ("head_output", "output"))
        lengths = {"pull": view.length("head_output"), "output": view.length("output")}
        yield say("sum.here", query=query, **lengths, cosine=cosine(pull, output))


def _weighted_values(view: HeadView) -> Matrix:
    """weight · v for the shown keys of one query, the others together, and the sum, which is z."""
    weights = view.row("weights")
    moved = np.where(weights[:, None] == 0, 0, weights[:, None] * view.arrays["v"])
    rows = np.concatenate([weights[:, None], moved], axis=1)
    left_out = np.delete(rows, view.keys, axis=0)
    total = [float(weights.sum()), *view.arrays["z"][view.query].tolist()]
    columns = [note("column.weight"), *range(moved.shape[1])]
    names: list[Words] = [*view.named_keys(view.keys)]
    values = rows[view.keys]
    keys = counted(len(rows), "sum.key_one", "sum.key_many")
    title = note("sum.table", keys=keys)
    if len(left_out):
        names.append(note("sum.others"))
        values = np.concatenate([values, left_out.sum(axis=0, keepdims=True)])
        title = note("sum.part", keys=len(view.keys), all=keys)
    return Matrix(title, np.concatenate([values, [total]]), [*names, "Σ"], columns, summed=True)


# Each with the arrays without which there is nothing to say.
_STEPS = (
    (entering.embed, "x"),
    (entering.project, "q", "k", "v"),
    (_dot_products, "scores"),
    (_scale_and_mask, "scaled", "masked"),
    (_softmax, "weights"),
    (_sum, "z"),
)

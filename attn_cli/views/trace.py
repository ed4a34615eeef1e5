"""The page of `attn trace`: the six steps of each chosen layer and head, then the prediction."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from attn_cli import vocabulary
from attn_cli.analysis.heads import cosine
from attn_cli.maths import masks
from attn_cli.records import Attention, Trace
from attn_cli.views import ending, numbers
from attn_cli.views.head_view import HeadView
from attn_cli.views.items import (
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
from attn_cli.views.text import labels
from attn_cli.words import Note, counted, note

MOST_TABLES = 200
_TABLES_OF_STEP = {1: 2, 2: 3, 3: 1, 4: 2, 5: 1, 6: 4}
_PARTS = ("token_embedding", "position_embedding")
Items = Iterator[NamedTuple]


def count_tables(trace: Trace, steps: frozenset[int]) -> int:
    """About how many tables `page` would have."""
    per_head = sum(count for step, count in _TABLES_OF_STEP.items() if step in steps)
    return sum(len(block.heads) * per_head for block in trace.attention)


@np.errstate(all="ignore")
def page(
    trace: Trace,
    *,
    steps: frozenset[int],
    queries: Sequence[int],
    keys: Sequence[int],
    full: bool = False,
    after: bool = False,
) -> Page:
    """The whole page. `queries` and `keys` are the positions to show as rows and columns, the last
    of `queries` the one that is followed; `after`: the whole of `mlp_output` too."""
    heads = [(block, place) for block in trace.attention for place in range(len(block.heads))]
    one = _where(*heads[0]) if len(heads) == 1 else ""
    found: Page = [Heading(trace.model, trace.prompt, one)]
    marked = any(block.what_if for block in trace.attention)
    found.extend(what_ifs(trace.settings, "trace.what_if" if marked else "page.what_if"))
    names = labels(trace.prompt.labels)
    whole = steps == frozenset(range(1, 7))
    if whole:
        at = (heads[0][0].layer, heads[0][0].heads[0]) if one else None
        onward = any(entry.position == queries[-1] for entry in trace.next)
        found.extend(ending.opening(trace, at, names[queries[-1]], onward=onward))
    for block, place in heads if steps else ():
        if not one:
            found.append(Say(_where(block, place), "block"))
        view = HeadView(
            trace=trace, block=block, head=block.heads[place], arrays=_of_head(trace, block, place),
            queries=list(queries), keys=list(keys), names=names, full=full,
        )  # fmt: skip
        found.extend(_steps_of(view, steps, first=not place))
        if place == len(block.heads) - 1:
            found.extend(_after(view, whole=whole, after=after))
    parameters = bool(heads) and "w_norm" in heads[0][0].arrays
    for entry in trace.next:
        query = names[entry.position]
        found.extend(
            ending.prediction(
                entry,
                trace.ending,
                trace.model,
                query,
                parameters=parameters,
                followed=not whole or entry.position == queries[-1],
            )
        )
    best = _best_key(view) if whole and one else -1
    if best >= 0 and view.head not in view.block.removed:
        found.extend(ending.try_next(trace, *heads[0], view.query, best))
    return found


def _steps_of(view: HeadView, steps: frozenset[int], *, first: bool) -> Items:
    """The chosen steps of one head; what enters the layer is told with its `first` alone."""
    for number, (step, *needed) in enumerate(_STEPS, 1):
        if number in steps and view.has(*needed) and (first or number > 1):
            yield from step(view)


def _after(view: HeadView, *, whole: bool, after: bool) -> Items:
    """What follows the heads of a layer."""
    block, facts, query = view.block, view.facts, view.query
    if whole:
        last = block.layer == facts.layers_of(block.stack) - 1
        yield from ending.after_layer(block, facts, query, view.names[query], last=last)
    if after and view.has("mlp_output"):
        yield view.rows("mlp_output", view.queries)


def _best_key(view: "HeadView") -> int:
    """The visible key that the followed query looks at most, -1 if it sees none."""
    seen = np.flatnonzero(view.arrays["visible"][view.query])
    weights = view.arrays["weights"][view.query]
    return int(seen[np.argmax(weights[seen])]) if seen.size else -1


def _where(block: Attention, place: int) -> Note:
    return note("page.head", layer=block.layer, head=block.heads[place])


def _of_head(trace: Trace, block: Attention, place: int) -> dict[str, np.ndarray]:
    group = trace.model.heads // trace.model.kv_heads
    places = {"head": place, "kv_head": block.kv_heads.index(block.heads[place] // group)}
    return {
        name: array[places[axis]] if (axis := vocabulary.ARRAYS[name].axes[0]) in places else array
        for name, array in block.arrays.items()
    }


def _embed(view: HeadView) -> Items:
    layer, made = view.block.layer, view.facts.embedding
    if layer:
        whole = view.facts.residual in ("after", "onto_normed")
        yield StepTitle(1, note("embed.title_stream"))
        yield say("embed.given" if whole else "embed.stream", layer=layer)
    elif made in ("sum", "projected"):
        yield from _embedding_sum(view, made)
        if view.has(*_PARTS):
            return
    else:
        yield from _embedding_alone(view, made)
    yield view.rows("x", view.tokens)


def _what_vectors_are(view: HeadView, made: Words = "") -> Say:
    """Where the tokens' vectors are from."""
    key = "embed.trained" if view.facts.trained else "embed.random"
    return say(key, width=view.facts.model_width, made=made)


def _embedding_sum(view: HeadView, made: str) -> Items:
    """Where the position's vector is added to the token's."""
    yield StepTitle(1)
    said = [_what_vectors_are(view), say("embed.second")]
    if "positions" in view.trace.settings["without"]:
        said.append(say("embed.removed"))
    yield paragraph(*said)
    if made == "projected":
        yield say("embed.projected")
    if view.has(*_PARTS):
        yield from (view.rows(name, view.tokens, few=True) for name in _PARTS)
        yield view.rows("x", view.tokens, note("embed.sum"))
        token, place, x = (view.length(name) for name in (*_PARTS, "x"))
        here = {"query": view.names[view.query], "position": view.query}
        yield say("embed.here", **here, x=x, token=token, place=place)


def _embedding_alone(view: HeadView, made: str) -> Items:
    """Where the token's vector is all that x is made from."""
    width = view.facts.model_width
    where = note("embed.biased" if view.facts.positions == "bias" else "embed.turned")
    scaled = note(f"embed.{made}", width=width) if made != "token" else ""
    yield StepTitle(1, note(f"embed.title_{made}", width=width))
    yield paragraph(_what_vectors_are(view, scaled), say("embed.plain", where=where))
    if view.has("token_embedding") and made != "token":
        yield view.rows("token_embedding", view.tokens)


def _project(view: HeadView) -> Items:
    normed, heads_normed = view.has("normed"), view.facts.head_norm
    title = note("project.title_heads" if heads_normed else "project.title")
    yield StepTitle(2, title if normed else "")
    said = [say("project.what" if view.facts.trained else "project.random")]
    if normed:
        said.append(say("project.normed", norm=note(f"norm.{view.facts.norm}")))
        if view.has("x"):
            x, query = view.arrays["x"][view.query], view.names[view.query]
            parameters = view.has("w_norm")
            said.append(ending.norm_words(view.facts, x, query, "normed", parameters=parameters))
    yield paragraph(*said)
    if normed:
        yield from (view.parameter(name) for name in ("w_norm", "b_norm") if view.has(name))
        yield view.rows("normed", view.tokens)
    if view.has("w_q"):
        names = ("w_q", "b_q", "w_k", "b_k", "w_v", "b_v")
        yield from (view.parameter(name) for name in names if view.has(name))
    elif view.has("b_q"):
        yield say("project.bias")
    if heads_normed:
        yield say("project.heads")
    if view.has("q_unrotated", "k_unrotated"):
        yield from (view.rows("q_unrotated", view.queries), view.rows("k_unrotated", view.keys))
        angles = view.block.shown["angles"][view.query][None]
        half = angles.shape[1]
        yield say("project.rotary", half=half, query=view.names[view.query])
        axes = note("axes.matrix", rows="1", columns=note("project.pairs"))
        if "positions" in view.trace.settings["without"]:
            yield say("project.unturned")
        yield Matrix(note("project.angles"), angles, [""], range(half), axes)
        facts, factor = view.facts, view.facts.attention_factors[view.block.layer]
        if facts.rotated < facts.head_width:
            yield say("project.partial", width=facts.head_width, count=facts.rotated)
        if factor != 1:
            yield say("project.stretched", ratio=numbers.number(factor, 3))
    yield from (view.rows("q", view.queries), view.rows("k", view.keys), view.rows("v", view.keys))


def _dot_products(view: HeadView) -> Items:
    yield from (StepTitle(3), say("dot.what"), view.cells("scores"))
    if not view.has("visible", "q"):
        return
    query = view.names[view.query]
    seen = [n for n in view.keys if view.arrays["visible"][view.query][n]]
    if seen:
        terms = view.arrays["q"][view.query] * view.arrays["k"][seen]
        scores = view.arrays["scores"][view.query, seen]
        columns = [note("dot.score"), *range(terms.shape[1])]
        values = np.concatenate([scores[:, None], terms], axis=1)
        yield Matrix(note("dot.table", query=query), values, view.named(seen), columns,
                     note("axes.matrix", rows="keys", columns="width"))  # fmt: skip


def _scale_and_mask(view: HeadView) -> Items:
    block, width, biased = view.block, view.facts.head_width, view.has("bias")
    scale, cap = f"{block.scale:.6g}", f"{block.soft_cap:g}"
    kind = "root" if abs(block.scale * width**0.5 - 1) < 1e-6 else "factor"
    kind = "plain" if block.scale == 1 else kind
    value = view.trace.settings["mask_value"]
    masked = "−∞" if value is None else numbers.exact(value)
    title = "cap" if block.soft_cap else "biased" if biased else kind
    yield StepTitle(
        4, note(f"scale.title_{title}", width=width, scale=scale, cap=cap, masked=masked)
    )
    what = {"root": "scale.what", "factor": "scale.other", "plain": "scale.plain"}[kind]
    said = [say(what, width=width, root=width**0.5, scale=scale)]
    yield paragraph(*said, *[say("scale.capped", cap=cap)] * bool(block.soft_cap))
    if biased:
        if view.facts.slopes:
            yield say("scale.biased", slope=numbers.number(view.facts.slopes[view.head], 4))
        yield view.cells("bias")
    yield from (view.cells("scaled"), *_mask(view), view.cells("masked"))


def _mask(view: HeadView) -> Items:
    """What is hidden, and why, where it is a mask of a kind."""
    visible, value = view.arrays["visible"], view.trace.settings["mask_value"]
    hidden = int((~visible).sum())
    if not hidden:
        yield say("mask.nothing")
        return
    said = [say("mask.what", hidden=hidden, cells=visible.size)]
    if value is None:
        said.append(say("mask.infinite"))
    else:
        said.append(say("scale.value", value=numbers.exact(value)))
    width = int(visible.sum(axis=1).max())
    window = masks.square(partial(masks.window, width=width), len(visible))
    if np.array_equal(visible, masks.square(masks.causal, len(visible))):
        pair = _hidden_pair(view)
        example = note("mask.example", query=pair[0], key=pair[1]) if pair else ""
        said.append(say("mask.causal", example=example))
    elif width > 1 and np.array_equal(visible, window):
        said.append(say("mask.window", before=width - 1))
    yield paragraph(*said)


def _hidden_pair(view: HeadView) -> tuple[str, str] | tuple[()]:
    """A shown query and a shown key that it may not look at: the followed query's key that it
    looks at most, and an early query, if these are shown."""
    visible, best = view.arrays["visible"], _best_key(view) if view.has("weights") else -1
    pairs = [(query, key) for query in view.queries for key in view.keys if not visible[query, key]]
    if not pairs:
        return ()
    query, key = min(pairs, key=lambda pair: (pair[1] != best, abs(pair[0] - 1)))
    return view.names[query], view.names[key]


def _softmax(view: HeadView) -> Items:
    temperature = view.trace.settings["attention_temperature"]
    heated = note("softmax.title_heated", temperature=f"{temperature:g}")
    yield StepTitle(5, heated if temperature not in (0, 1) else note("softmax.title"))
    said = [say("softmax.what")]
    if not view.arrays.get("visible", np.ones(1, bool)).all():
        value = view.trace.settings["mask_value"]
        said.append(say("softmax.hidden" if value is None else "softmax.value"))
    if temperature == 0:
        said.append(say("softmax.cold"))
    elif view.has("masked"):
        row = view.arrays["masked"][view.query].astype(np.float64)
        top = float(row.max())
        total = float(np.exp((row - top) / temperature).sum()) if np.isfinite(top) else 0.0
        words = {"query": view.names[view.query], "top": top, "total": total}
        heat = say("softmax.heat", temperature=f"{temperature:g}")
        said += [heat] * (temperature != 1) + [say("softmax.row", **words)]
    yield paragraph(*said)
    yield from (view.cells("weights"), say("softmax.here", query=view.names[view.query]))
    row = view.arrays["weights"][view.query]
    order = np.argsort(-row, kind="stable")[:4].tolist()
    yield Shares([view.names[i] for i in order], row[order].tolist())


def _sum(view: HeadView) -> Items:
    query = view.names[view.query]
    yield StepTitle(6)
    if view.has("weights", "v"):
        yield from (say("sum.what", query=query), _weighted_values(view))
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
    added = note("sum.bias") if view.has("b_o") else ""
    then = note(f"sum.{view.facts.residual}")
    yield say("sum.output", heads=view.facts.heads, bias=added, then=then)
    yield view.rows("output", view.queries)
    if not removed:
        pull, output = (view.arrays[name][view.query] for name in ("head_output", "output"))
        lengths = {"pull": view.length("head_output"), "output": view.length("output")}
        yield say("sum.here", query=query, **lengths, cosine=cosine(pull, output))


def _weighted_values(view: HeadView) -> Matrix:
    """weight · v for the shown keys of one query, the others together, and the sum, which is z."""
    weights = view.arrays["weights"][view.query]
    moved = np.where(weights[:, None] == 0, 0, weights[:, None] * view.arrays["v"])
    rows = np.concatenate([weights[:, None], moved], axis=1)
    left_out = np.delete(rows, view.keys, axis=0)
    total = [float(weights.sum()), *view.arrays["z"][view.query].tolist()]
    columns = [note("column.weight"), *range(moved.shape[1])]
    names: list[Words] = [view.names[i] for i in view.keys]
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
    (_embed, "x"),
    (_project, "q", "k", "v"),
    (_dot_products, "scores"),
    (_scale_and_mask, "scaled", "masked"),
    (_softmax, "weights"),
    (_sum, "z"),
)

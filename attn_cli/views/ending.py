"""What stands around the six steps on the page of `attn trace`: an opening for someone who has
never seen the formula, the way from the block's output to the next layer and to the prediction,
and what to type next."""

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from attn_cli import vocabulary
from attn_cli.errors import bounded
from attn_cli.notes import place
from attn_cli.records import Address, Attention, Ending, Facts, Prediction, Trace
from attn_cli.views import numbers
from attn_cli.views.head_view import HeadView
from attn_cli.views.items import Column, Columns, Matrix, Say, Words, paragraph, say
from attn_cli.views.text import label, visible
from attn_cli.words import counted, few, note

_CROSS = "cross"
_LONGEST = 100  # characters of a prompt that a command can repeat
# What a layer adds to x, in order, and what its norms make of the sums.
_ADDED = ("attention", "cross", "middle", "mlp", "inner", "convolution")


def opening(trace: Trace, view: HeadView | None, query: str, *, onward: bool) -> Iterator[object]:
    """What tokens, layers and heads are, what the page follows, why there are three vectors."""
    facts, tokens = trace.model, len(trace.prompt.tokens)
    texts = [*trace.prompt.labels, *(trace.prompt.target.labels if trace.prompt.target else ())]
    marks = [key for key, mark in _MARKS.items() if any(mark in text for text in texts)]
    marks += ["page.mark_twice"] if len(set(texts)) < len(texts) else []
    through: Words = note("page.all")
    if view:
        through = note("page.through", head=view.head, where=place(facts, view.block))
    yield say(
        "page.opening",
        tokens=note("page.tokens", count=tokens),
        layers=_layers(facts),
        each=note("page.each_some" if facts.mixers else "page.each"),
        heads=counted(facts.heads, "page.head_one", "page.head_many"),
        width=facts.model_width,
        query=query,
        through=through,
        onward=note("page.onward_mask" if facts.masked else "page.onward") if onward else "",
        marks=note("page.marks", marks=listed([note(key) for key in marks])) if marks else "",
    )
    yield say("table.colours", "colours")


def _layers(facts: Facts) -> Words:
    own = counted(facts.layers, "page.layers_one", "page.layers_many")
    if facts.mixers:
        return note("page.layers_some", layers=own, **mixed(facts))
    if not facts.encoder:
        return own
    other = counted(facts.encoder[0], "page.layers_one", "page.layers_many")
    return note("page.stacks", encoder=other, decoder=own)


def mixed(facts: Facts) -> dict[str, Words]:
    """Which layers have attention, and what stands in the others."""
    names = dict.fromkeys(name for name in facts.mixers if name)
    return {
        "which": few(facts.attending(facts.stack), 24),
        "others": listed([note(f"mixer.{name}") for name in names]),
    }


_MARKS = {"page.mark_space": " ", "page.mark_pieces": "##"}


def listed(parts: Sequence[Words]) -> Words:
    """`a, b and c`, put together from the right."""
    if len(parts) < 2:
        return parts[0] if parts else ""
    return note("page.two", first=parts[0], rest=listed(parts[1:]))


def norm_words(
    facts: Facts, x: np.ndarray, query: str, name: str, *, parameters: bool, of: Words = "x"
) -> Say:
    """The formula of a norm, and what it does to one vector, so that it can be redone."""
    told = parameters or name == "final"
    epsilon, weights = f"{facts.epsilon:g}", "" if told else note("norm.hidden")
    base = note("norm.one_more") if facts.norm_base else ""
    kind = facts.norm if facts.affine else "plain"
    bias = note("norm.bias") if facts.norm_bias else ""
    words = {
        "name": name,
        "of": of,
        "epsilon": epsilon,
        "weights": weights,
        "base": base,
        "bias": bias,
    }
    mean = float(x.mean()) if facts.norm == "layer" else 0.0
    root = float(np.sqrt(np.mean((x - mean) ** 2) + facts.epsilon))
    return say(f"norm.formula_{kind}", **words, query=query, mean=mean, root=root)


def after_layer(
    block: Attention, facts: Facts, at: int, query: str, *, routed: bool = False
) -> Iterator[object]:
    """What the layer does with the block's output: the way to the next layer's x.

    `routed`: its network is a mixture of experts.
    """
    shown = {name: block.shown[name][at] for name in (*_ADDED, "x") if name in block.shown}
    if not {"x", "attention", "mlp"} <= shown.keys() or "x" not in block.arrays:
        return
    summed = facts.residual in ("added", "normed")
    layer = place(facts, Address(block.stack, "self", block.layer))
    yield say("after.title", "title", where=layer)
    how = "parallel" if facts.parallel else "what" if summed else facts.residual
    said = [say(f"after.{how}")]
    said += [say("after.experts")] * routed
    said += [say("after.shared_norm")] * facts.shared_norm
    said += [say("after.cross")] * ("cross" in shown)
    said += [say("after.convolved")] * ("convolution" in shown)
    said += [say("after.norms")] * (facts.residual == "normed")
    factor = facts.residual_factor
    said += [say("after.multiplied", factor=f"{factor:g}")] * (factor != 1)
    yield paragraph(*said)
    x = block.arrays["x"][at]
    if "middle" in shown and "cross" not in shown:
        said = [_roots(facts, query, x + shown["attention"], shown["middle"] + shown["mlp"])]
        if "inner" in shown:
            mean, root = _mean_and_root(facts, shown["inner"] + shown["convolution"])
            said.append(say("after.third", mean=mean, root=root))
        yield paragraph(*said)
    parts = [name for name in _ADDED if name in shown]
    rows = [x, *(shown[name] for name in parts), shown["x"]]
    plus, equals = ("+ ", "= ") if summed else ("", "")
    keys = ["cross_row" if name == "cross" else name for name in parts]
    keys[0] = "cross_row" if block.address.crosses else keys[0]
    names = ["x", *(note(f"after.{key}", sign=plus) for key in keys)]
    last = block.layer == facts.layers_of(block.stack) - 1
    key = "after.last" if last else "after.next"
    names.append(note(key, sign=equals, layer=block.layer + 1))
    values = np.stack(rows)
    lengths = np.linalg.norm(values.astype(np.float64), axis=1)
    values = np.concatenate([lengths[:, None], values], axis=1)
    columns = [note("column.length"), *range(values.shape[1] - 1)]
    axes = "" if summed else note("axes.matrix", rows=note("next.rows"), columns=note("axis.model"))
    yield Matrix(note("after.table", query=query), values, names, columns, axes, summed=summed)
    if last and block.address.both_sides and facts.encoder and summed:
        yield say("after.encoder_norm")


def _roots(facts: Facts, query: str, *sums: np.ndarray) -> Say:
    """What the two norms of a post-norm layer subtract and divide by."""
    (mean, root), (mean2, root2) = (_mean_and_root(facts, values) for values in sums)
    learned = note("after.learned") if facts.affine else ""
    return say(
        "after.roots", query=query, learned=learned, mean=mean, root=root, mean2=mean2, root2=root2
    )


def _mean_and_root(facts: Facts, values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(np.sqrt(values.var() + facts.epsilon))


def prediction(
    found: Prediction,
    ending: Sequence[Ending],
    facts: Facts,
    query: str,
    *,
    parameters: bool,
    followed: bool,
) -> Iterator[object]:
    """The last norm, a score for every token, and their shares; `followed`: of the page's query."""
    what_if = found.provenance == vocabulary.WHAT_IF
    layers = counted(facts.layers, "next.after_one", "next.after_many")
    what = note("next.mask", query=query) if facts.masked else note("next.next")
    yield say("next.what_if" if what_if else "next.title", "title", what=what, layers=layers,
              comma=note("next.comma") if facts.masked else "")  # fmt: skip
    if not followed and not facts.masked:
        yield say("next.position", query=query)
    for end in ending:
        yield from _scores(end, found, facts, query, parameters=parameters)
    rows = found.candidates
    names: list[Words] = [label(c.text, 24) for c in rows]
    logits: list[object] = [*numbers.together(*(c.logit for c in rows))]
    shares, powers = [c.probability for c in rows], []
    for end in ending:
        names.append(note("column.others", count=numbers.count(end.others)))
        logits.append("")
        powers = [float(np.exp(np.float64(c.logit) - end.top)) for c in rows]
        powers.append(end.share * end.total)
        shares.append(end.share)
    columns = [
        Column("", [str(c.rank) for c in rows] + [""] * len(ending), "right"),
        Column(note("column.token"), names, "left"),
        Column(note("column.logit"), logits, "right"),
        *([Column(note("next.power"), powers, "fine")] if powers else []),
        Column(note("column.probability"), shares, "fine"),
        Column("", shares, "bar"),
    ]
    yield Columns("", columns)
    for end in ending:
        total = numbers.number(end.total, 4)
        yield say("next.total", tokens=numbers.count(facts.vocabulary), total=total)


def _scores(
    end: Ending, found: Prediction, facts: Facts, query: str, *, parameters: bool
) -> Iterator[object]:
    said = []
    if facts.transform:
        first = note("next.transform_norm") if facts.residual == "added" else ""
        said.append(say("next.transform", norm=first, activation=facts.transform))
    elif not facts.last_norm:
        said += [say("next.as_is")] * np.array_equal(end.final, end.x)
    else:
        said.append(norm_words(facts, end.x, query, "final", parameters=parameters))
    cap = note("next.cap", cap=f"{facts.logit_cap:g}") if facts.logit_cap else ""
    factor = f"{facts.logit_scale:.6g}"
    scaled = note("next.scaled", factor=factor) if facts.logit_scale != 1 else ""
    bias = note("next.bias") if end.biases.size else ""
    tokens = numbers.count(facts.vocabulary)
    yield paragraph(*said, say("next.what", tokens=tokens, cap=cap, bias=bias, scaled=scaled))
    rows: list[np.ndarray] = [end.final]
    names: list[Words] = ["final"]
    if end.final.shape == end.x.shape and not np.array_equal(end.final, end.x):
        rows, names = [end.x, *rows], ["x", *names]
    if parameters:
        norm = {"w_norm": end.w_norm, "b_norm": end.b_norm}
        for name, values in norm.items():
            if values.size == end.x.size:
                rows.append(values)
                names.append(name)
        rows += list(end.vectors)
        names += [label(c.text, 24) for c in found.candidates]
    axes = note("axes.matrix", rows=note("next.rows"), columns=note("axis.model"))
    yield Matrix(note("next.table"), np.stack(rows), names, range(len(rows[0])), axes)


def try_next(view: HeadView, key: int) -> Iterator[object]:
    """Commands worth typing next for this sentence."""
    hide, other = again(view, "attn mask"), again(view, "attn heads", head=False)
    if not (hide and other):
        return
    yield say("page.try", "title")
    names = {"query": view.names[view.query], "key": view.key_names[key]}
    terms = f"{again(view, 'attn why')} --query {view.query} --key {key}"
    yield say("page.try_why", command=visible(terms), **names)
    if view.row("visible").sum() > 1:
        hide += f" --mask block:{view.query}:{key}"
        yield say("page.try_mask", command=visible(hide), **names)
    yield say("page.try_heads", command=visible(other))
    if view.trace.model.encoder and view.block.address.causal:
        cross = again(view, "attn trace", place=False, head=False, more=f" --kind={_CROSS}")
        yield say("page.try_cross", command=visible(cross))


def again(
    view: HeadView, command: str, *, place: bool = True, head: bool = True, more: str = ""
) -> str:
    """Another command for the same prompt and model, "" where it would be too long to type; with
    the `place` of the block, the `head`, and `more` between the two."""
    trace, block, prompt = view.trace, view.block, view.trace.prompt
    said = "" if prompt.text == trace.model.sample else f" {shlex.quote(prompt.text)}"
    said = said if prompt.has_text else f" --ids {','.join(map(str, prompt.ids))}"
    if prompt.pair:
        said += f" --pair {shlex.quote(prompt.pair)}"
    if prompt.target and not prompt.target.has_text:
        said += f" --target-ids={','.join(map(str, prompt.target.ids))}"
    elif prompt.target and prompt.target.text:
        said += f" --target {shlex.quote(prompt.target.text)}"
    if len(said) > _LONGEST or (prompt.text or "").startswith("-") or prompt.chat:
        return ""
    typed = "".join(
        f" {option} {shlex.quote(word)}"
        for option, _, word in (c.partition(" ") for c in vocabulary.changes(trace.settings))
    )
    model, adapter = trace.model, trace.settings.get("adapter", "")
    if adapter:
        model = replace(model, name=model.name.rpartition(" + ")[0])
    model = "" if model.name == vocabulary.DEFAULT_MODEL else f" --model {_name(model)}"
    model += f" --adapter {shlex.quote(adapter)}" if adapter else ""
    where = f" --layer {block.layer}" if block.layer else ""
    where += f" --stack {block.stack}" if block.stack != trace.model.stack else ""
    where += f" --kind {block.kind}" if block.kind != "self" else ""
    of_head = f" --head {view.head}" if head and view.head else ""
    whole = f"{command}{said}{model}{where if place else more}{of_head}{typed}"
    return whole if bounded(whole) == whole else ""


def _name(model: Facts) -> str:
    """What `--model` takes: a name as it was given, or else the path."""
    given = model.source == "package" or not os.path.exists(model.source) or "/" in model.name
    return shlex.quote(model.name if given or ":" in model.name else model.source)

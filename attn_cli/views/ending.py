"""What stands around the six steps on the page of `attn trace`: an opening for someone who has
never seen the formula, the way from the block's output to the next layer and to the prediction,
and what to type next."""

import os
import shlex
from collections.abc import Iterator, Sequence

import numpy as np

from attn_cli import vocabulary
from attn_cli.records import Attention, Ending, Facts, Prediction, Trace
from attn_cli.views import numbers
from attn_cli.views.items import Column, Columns, Matrix, Say, Words, paragraph, say
from attn_cli.views.text import label, visible
from attn_cli.words import counted, note

_LONGEST = 60  # characters of a prompt that a command can repeat


def opening(
    trace: Trace, where: tuple[int, int] | None, query: str, *, onward: bool
) -> Iterator[object]:
    """What tokens, layers and heads are, what the page follows, why there are three vectors."""
    facts, tokens = trace.model, len(trace.prompt.tokens)
    texts = trace.prompt.labels
    marks = [key for key, mark in _MARKS.items() if any(mark in text for text in texts)]
    marks += ["page.mark_twice"] if len(set(texts)) < len(texts) else []
    yield say(
        "page.opening",
        tokens=note("page.tokens", count=tokens),
        layers=counted(facts.layers, "page.layers_one", "page.layers_many"),
        heads=counted(facts.heads, "page.head_one", "page.head_many"),
        width=facts.model_width,
        query=query,
        through=note("page.through", head=where[1], layer=where[0]) if where else note("page.all"),
        onward=note("page.onward") if onward else "",
        marks=note("page.marks", marks=_listed([note(key) for key in marks])) if marks else "",
    )
    yield say("table.colours", "colours")


_MARKS = {"page.mark_space": " ", "page.mark_pieces": "##"}


def _listed(parts: Sequence[Words]) -> Words:
    """`a, b and c`, put together from the right."""
    if len(parts) < 2:
        return parts[0] if parts else ""
    return note("page.two", first=parts[0], rest=_listed(parts[1:]))


def norm_words(facts: Facts, x: np.ndarray, query: str, name: str, *, parameters: bool) -> Say:
    """The formula of a norm, and what it does to one vector, so that it can be redone."""
    told = parameters or name == "final"
    epsilon, weights = f"{facts.epsilon:g}", "" if told else note("norm.hidden")
    base = note("norm.one_more") if facts.norm_base else ""
    kind = facts.norm if facts.affine else "plain"
    words = {"name": name, "epsilon": epsilon, "weights": weights, "base": base}
    mean = float(x.mean()) if facts.norm == "layer" else 0.0
    root = float(np.sqrt(np.mean((x - mean) ** 2) + facts.epsilon))
    return say(f"norm.formula_{kind}", **words, query=query, mean=mean, root=root)


def after_layer(
    block: Attention, facts: Facts, place: int, query: str, *, last: bool
) -> Iterator[object]:
    """What the layer does with the block's output: the way to the next layer's x."""
    shown = {name: array[place] for name, array in block.shown.items() if name != "angles"}
    if not {"x", "attention", "mlp"} <= shown.keys() or "x" not in block.arrays:
        return
    summed = facts.residual in ("added", "normed")
    yield say("after.title", "title", layer=block.layer)
    said = [say("after.what" if summed else f"after.{facts.residual}")]
    yield paragraph(*said, *[say("after.norms")] * (facts.residual == "normed"))
    rows = [block.arrays["x"][place], shown["attention"], shown["mlp"], shown["x"]]
    plus, equals = ("+ ", "= ") if summed else ("", "")
    names = ["x", note("after.attention", sign=plus), note("after.mlp", sign=plus)]
    key = "after.last" if last else "after.next"
    names.append(note(key, sign=equals, layer=block.layer + 1))
    values = np.stack(rows)
    lengths = np.linalg.norm(values.astype(np.float64), axis=1)
    values = np.concatenate([lengths[:, None], values], axis=1)
    columns = [note("column.length"), *range(values.shape[1] - 1)]
    yield Matrix(note("after.table", query=query), values, names, columns, summed=summed)


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
    yield say("next.what_if" if what_if else "next.title", "title", layers=layers)
    if not followed:
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
    if facts.last_norm:
        said.append(norm_words(facts, end.x, query, "final", parameters=parameters))
    cap = note("next.cap", cap=f"{facts.logit_cap:g}") if facts.logit_cap else ""
    yield paragraph(*said, say("next.what", tokens=numbers.count(facts.vocabulary), cap=cap))
    rows: list[np.ndarray] = [end.final]
    names: list[Words] = ["final"]
    if end.final.shape == end.x.shape:
        rows, names = [end.x, *rows], ["x", *names]
    if parameters:
        norm = {"w_norm": end.w_norm, "b_norm": end.b_norm}
        for name, values in norm.items():
            if values.size == end.x.size:
                rows.append(values)
                names.append(name)
        rows += list(end.vectors)
        names += [label(c.text, 24) for c in found.candidates]
    axes = note("axes.matrix", rows=note("next.rows"), columns="model")
    yield Matrix(note("next.table"), np.stack(rows), names, range(len(rows[0])), axes)


def try_next(trace: Trace, block: Attention, place: int, query: int, key: int) -> Iterator[object]:
    """Two commands worth typing next for this sentence."""
    prompt = trace.prompt
    said = "" if prompt.text == vocabulary.SAMPLE_PROMPT else f" {shlex.quote(prompt.text)}"
    said = said if prompt.has_text else f" --ids {','.join(map(str, prompt.ids))}"
    if len(said) > _LONGEST or (prompt.text or "").startswith("-") or prompt.chat:
        return
    typed = "".join(
        f" {option} {shlex.quote(word)}"
        for option, _, word in (c.partition(" ") for c in vocabulary.changes(trace.settings))
    )
    model = "" if trace.model.name == vocabulary.DEFAULT_MODEL else f" --model {_name(trace.model)}"
    where = f" --layer {block.layer}" if block.layer else ""
    head = f" --head {block.heads[place]}" if block.heads[place] else ""
    hide = f"attn mask{said}{model}{where}{head}{typed} --mask block:{query}:{key}"
    other = f"attn heads{said}{model}{where}{typed}"
    yield say("page.try", "title")
    names = {"query": label(prompt.labels[query]), "key": label(prompt.labels[key])}
    yield say("page.try_mask", command=visible(hide), **names)
    yield say("page.try_heads", command=visible(other))


def _name(model: Facts) -> str:
    """What `--model` takes: a name as it was given, or else the path."""
    given = model.source == "package" or not os.path.exists(model.source) or "/" in model.name
    return shlex.quote(model.name if given or ":" in model.name else model.source)

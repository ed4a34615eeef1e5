"""The page of `attn trace`: the six steps of each chosen layer and head, then the prediction."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from rich.padding import Padding
from rich.text import Text

from attn_cli import vocabulary
from attn_cli.analysis.heads import cosine
from attn_cli.maths import masks
from attn_cli.records import Attention, Facts, Trace
from attn_cli.views import numbers, page
from attn_cli.views.matrix import INDENT, Look, matrix
from attn_cli.views.page import Page, say
from attn_cli.words import sentence

MOST_TABLES = 200
_TABLES_OF_STEP = {1: 2, 2: 3, 3: 1, 4: 2, 5: 1, 6: 4}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeadView:
    """One head of one block, and the queries and keys to show of it.

    `arrays` are this head's, without the head axis; `queries` and `keys` are positions, the last
    of `queries` is the one told about in sentences.
    """

    trace: Trace
    block: Attention
    head: int
    arrays: dict[str, np.ndarray]
    queries: list[int]
    keys: list[int]
    names: list[str]
    steps: frozenset[int]
    look: Look

    @property
    def query(self) -> int:
        return self.queries[-1]

    @property
    def facts(self) -> Facts:
        return self.trace.model

    @property
    def removed(self) -> bool:
        """Whether `--without-head` took this head away."""
        return self.head in self.block.removed

    def shows(self, step: int, *names: str) -> bool:
        return step in self.steps and all(name in self.arrays for name in names)

    def rows(self, name: str, positions: Sequence[int], title: str = "", axis: str = "") -> Page:
        """An array whose rows are tokens: these positions of it."""
        values = self.arrays[name][positions]
        return page.headed_matrix(
            title or name,
            values,
            [self.names[i] for i in positions],
            [str(j) for j in range(values.shape[1])],
            self.look,
            axes=sentence("axes.tokens", axis=axis or vocabulary.ARRAYS[name].axes[-1]),
            remark=self._remark(name),
        )

    def cells(self, name: str) -> Page:
        """A (query, key) array, restricted to the chosen queries and keys."""
        return page.query_key_matrix(
            name,
            self.arrays[name][np.ix_(self.queries, self.keys)],
            [self.names[i] for i in self.queries],
            [self.names[i] for i in self.keys],
            self.look,
            self._remark(name),
        )

    def parameter(self, name: str) -> Page:
        """A learned matrix, or a learned vector as a matrix of one row."""
        axes = vocabulary.ARRAYS[name].axes
        values = np.atleast_2d(self.arrays[name])
        rows = [str(i) for i in range(values.shape[0])] if len(axes) == 3 else [""]
        words = sentence("axes.matrix", rows=axes[-2] if len(axes) == 3 else "1", columns=axes[-1])
        columns = [str(j) for j in range(values.shape[1])]
        found = page.headed_matrix(name, values, rows, columns, self.look, axes=words)
        if _is_elided(found):
            found.append(say("parameters.elided", name=name))
        return found

    def _remark(self, name: str) -> str:
        return vocabulary.WHAT_IF if name in self.block.what_if else ""


def _is_elided(tables: Page) -> bool:
    """Whether a table has a gap in its rows or columns; headings and numbers hold no `…`."""
    return any(
        "…" in str(text)
        for item in tables
        if isinstance(item, Padding)
        for column in item.renderable.columns
        for text in (column.header, *column.cells)
    )


def count_tables(trace: Trace, steps: frozenset[int]) -> int:
    """About how many tables `render` would print."""
    per_head = sum(count for step, count in _TABLES_OF_STEP.items() if step in steps)
    return sum(len(block.heads) * per_head for block in trace.attention)


@np.errstate(all="ignore")
def render(
    trace: Trace, look: Look, *, steps: frozenset[int], queries: Sequence[int], keys: Sequence[int]
) -> Page:
    """The whole page. `queries` and `keys` are the positions to show as rows and columns."""
    one = len(trace.attention) == 1 and len(trace.attention[0].heads) == 1
    where = _where(trace.attention[0], trace.attention[0].heads[0]) if one else ""
    found: Page = [page.heading(trace.model, where), page.tokens_line(trace.prompt)]
    changes = what_if_words(trace)
    if changes:
        found.append(Text(f" {sentence('trace.what_if', changes=changes)}", "yellow"))
    names = page.labels(trace.prompt)
    for block in trace.attention if steps else ():
        for place, head in enumerate(block.heads):
            if not one:
                found.append(Text(f"\n {_where(block, head)}", "bold reverse"))
            view = HeadView(
                trace=trace, block=block, head=head, arrays=_of_head(trace, block, place, head),
                queries=list(queries), keys=list(keys), names=names, look=look,
                steps=steps - {1} if place else steps,
            )  # fmt: skip
            for step in (_embed, _project, _dot_products, _scale_and_mask, _softmax, _sum):
                found.extend(step(view))
    for entry in trace.next:
        found.extend(page.prediction(entry, trace.model, look.digits))
    return found


def what_if_words(trace: Trace) -> str:
    """The changes a user asked for, as options: `--mask none`."""
    settings = trace.settings
    changes = [f"--mask {word}" for word in settings["mask"]]
    if settings["attention_temperature"] != 1:
        changes.append(f"--attention-temperature {settings['attention_temperature']:g}")
    changes += [f"--without-head {word}" for word in settings["without_head"]]
    return page.visible(" ".join(changes))


def _where(block: Attention, head: int) -> str:
    return f"layer {block.layer} · head {head}"


def _of_head(trace: Trace, block: Attention, place: int, head: int) -> dict[str, np.ndarray]:
    group = trace.model.heads // trace.model.kv_heads
    places = {"head": place, "kv_head": block.kv_heads.index(head // group)}
    return {
        name: array[places[axis]] if (axis := vocabulary.ARRAYS[name].axes[0]) in places else array
        for name, array in block.arrays.items()
    }


def _embed(view: HeadView) -> Page:
    if not view.shows(1, "x"):
        return []
    positions = sorted({*view.queries, *view.keys})
    width = view.trace.model.model_width
    if view.block.layer:
        title = page.step_title(1, sentence("embed.title_stream"))
        whole = view.facts.residual in ("after", "onto_normed")
        words = say("embed.given" if whole else "embed.stream", layer=view.block.layer)
        return [title, words, *view.rows("x", positions)]
    if view.facts.embedding not in ("sum", "projected"):
        return [*_alone(view, width), *view.rows("x", positions)]
    found: Page = [page.step_title(1)]
    found.append(say("embed.what" if view.facts.trained else "embed.random", width=width))
    if view.facts.embedding == "projected":
        found.append(say("embed.projected"))
    if not view.shows(1, "token_embedding", "position_embedding"):
        return [*found, *view.rows("x", positions)]
    for name in ("token_embedding", "position_embedding", "x"):
        title = "x = their sum" if name == "x" else name
        found.extend(view.rows(name, positions, title))
    length = {
        name: numbers.number(float(np.linalg.norm(view.arrays[name][view.query])), view.look.digits)
        for name in ("token_embedding", "position_embedding", "x")
    }
    here = say(
        "embed.here", query=view.names[view.query], position=view.query, x=length["x"],
        token=length["token_embedding"], place=length["position_embedding"],
    )  # fmt: skip
    return [*found, here]


def _alone(view: HeadView, width: int) -> Page:
    """The heading of step 1 where the token's vector is all that x is made from."""
    made = view.facts.embedding
    where = "embed.biased" if view.facts.positions == "bias" else "embed.turned"
    title = page.step_title(1, sentence(f"embed.title_{made}", width=width))
    words = sentence(f"embed.{made}", width=width)
    found: Page = [title, say("embed.plain", width=width, made=words, where=sentence(where))]
    if view.shows(1, "token_embedding") and made != "token":
        found.extend(view.rows("token_embedding", sorted({*view.queries, *view.keys})))
    return found


def _project(view: HeadView) -> Page:
    if not view.shows(2, "q", "k", "v"):
        return []
    what = "project.what" if view.facts.trained else "project.random"
    normed = view.shows(2, "normed")
    heads_normed = view.facts.head_norm
    title = "project.title_heads" if heads_normed else "project.title"
    found: Page = [page.step_title(2, sentence(title) if normed else ""), say(what)]
    if normed:
        found.append(say("project.normed", norm=sentence(f"norm.{view.facts.norm}")))
        found.extend(view.rows("normed", sorted({*view.queries, *view.keys})))
    if view.shows(2, "w_q"):
        for name in ("w_q", "b_q", "w_k", "b_k", "w_v", "b_v"):
            if view.shows(2, name):
                found.extend(view.parameter(name))
    elif view.shows(2, "b_q"):
        found.append(say("project.bias"))
    if heads_normed:
        found.append(say("project.heads"))
    if view.shows(2, "q_unrotated", "k_unrotated"):
        found.extend(view.rows("q_unrotated", view.queries))
        found.extend(view.rows("k_unrotated", view.keys))
        found += [say("project.rotary"), *_rotation(view)]
    found.extend(view.rows("q", view.queries))
    found.extend(view.rows("k", view.keys))
    return [*found, *view.rows("v", view.keys)]


def _rotation(view: HeadView) -> Page:
    """How many of a head's dimensions rotate, and the factor on them, where that is not plain."""
    facts, found = view.facts, []
    if facts.rotated < facts.head_width:
        found.append(say("project.partial", width=facts.head_width, count=facts.rotated))
    factor = facts.attention_factors[view.block.layer]
    if factor != 1:
        found.append(say("project.stretched", ratio=numbers.number(factor, 3)))
    return found


def _dot_products(view: HeadView) -> Page:
    if not view.shows(3, "scores"):
        return []
    found: Page = [page.step_title(3), say("dot.what"), *view.cells("scores")]
    if "visible" not in view.arrays or "q" not in view.arrays:
        return found
    seen = np.flatnonzero(view.arrays["visible"][view.query])
    if not seen.size:
        return found
    best = int(seen[np.argmax(view.arrays["scores"][view.query][seen])])
    names = {"query": view.names[view.query], "key": view.names[best]}
    return [*found, say("dot.here", **names), _product(view, best)]


def _product(view: HeadView, key: int) -> Text:
    """The first terms of q · k, and the sum."""
    digits = view.look.digits
    q, k = view.arrays["q"][view.query], view.arrays["k"][key]
    shown = min(3, len(q))
    texts = numbers.column(np.concatenate([q[:shown], k[:shown]]), digits)
    terms = " + ".join(f"{a}×{b}" for a, b in zip(texts[:shown], texts[shown:], strict=True))
    more = f" + … {len(q) - shown} more terms" if shown < len(q) else ""
    score = numbers.number(float(view.arrays["scores"][view.query, key]), digits)
    line = f"{view.names[view.query]} · {view.names[key]} = {terms}{more} = {score}"
    return Padding(Text(line, "italic"), (0, 0, 0, 6))


def _scale_and_mask(view: HeadView) -> Page:
    if not view.shows(4, "scaled", "masked"):
        return []
    capped, biased = view.block.soft_cap, view.shows(4, "bias")
    title = sentence("scale.title_capped") if capped else ""
    found: Page = [page.step_title(4, sentence("scale.title_biased") if biased else title)]
    width, scale = view.trace.model.head_width, view.block.scale
    if abs(scale * width**0.5 - 1) < 1e-6:
        found.append(say("scale.what", width=width))
    else:
        found.append(say("scale.other", scale=numbers.number(scale, 4)))
    if capped:
        found.append(say("scale.capped", cap=f"{capped:g}"))
    if biased:
        slope = view.facts.slopes[view.head]
        found.append(say("scale.biased", slope=numbers.number(slope, 4)))
        found.extend(view.cells("bias"))
    found.extend(view.cells("scaled"))
    visible = view.arrays["visible"]
    hidden = int((~visible).sum())
    if hidden:
        found.append(say("mask.what", hidden=hidden, cells=visible.size))
        width = int(visible.sum(axis=1).max())
        window = masks.square(partial(masks.window, width=width), len(visible))
        if np.array_equal(visible, masks.square(masks.causal, len(visible))):
            found.append(say("mask.causal"))
        elif np.array_equal(visible, window):
            found.append(say("mask.window", before=width - 1))
    else:
        found.append(say("mask.nothing"))
    return [*found, *view.cells("masked")]


def _softmax(view: HeadView) -> Page:
    if not view.shows(5, "weights"):
        return []
    found: Page = [page.step_title(5), say("softmax.what")]
    temperature = view.trace.settings["attention_temperature"]
    if temperature != 1:
        found.append(say("softmax.heated", temperature=f"{temperature:g}"))
    found.extend(view.cells("weights"))
    row = view.arrays["weights"][view.query]
    order = np.argsort(-row, kind="stable")[:4]
    names = [view.names[i] for i in order]
    bars = page.shares(names, row[order].tolist(), view.look.digits)
    return [*found, say("softmax.here", query=view.names[view.query]), bars]


def _sum(view: HeadView) -> Page:
    if not view.shows(6, "z"):
        return []
    query = view.names[view.query]
    found: Page = [page.step_title(6)]
    if view.shows(6, "weights", "v"):
        found += [say("sum.what", query=query), *_weighted_values(view)]
    found.extend(view.rows("z", view.queries))
    if view.shows(6, "w_o"):
        found.extend(view.parameter("w_o"))
    if not view.shows(6, "head_output", "output"):
        return found
    found.append(say("sum.removed" if view.removed else "sum.pull"))
    found.extend(view.rows("head_output", view.queries))
    if view.shows(6, "w_o", "b_o"):
        found.extend(view.parameter("b_o"))
    added = sentence("sum.bias") if view.shows(6, "b_o") else ""
    then = sentence(f"sum.{view.facts.residual}")
    words = say("sum.output", heads=view.trace.model.heads, bias=added, then=then)
    found += [words, *view.rows("output", view.queries)]
    if view.removed:
        return found
    pull, output = (view.arrays[name][view.query] for name in ("head_output", "output"))
    lengths = float(np.linalg.norm(pull)), float(np.linalg.norm(output))
    digits = view.look.digits
    here = say(
        "sum.here", query=query, pull=numbers.number(lengths[0], digits),
        output=numbers.number(lengths[1], digits),
        cosine=numbers.number(cosine(pull, output), digits),
    )  # fmt: skip
    return [*found, here]


def _weighted_values(view: HeadView) -> Page:
    """weight · v for the shown keys of one query, the others together, and the sum, which is z."""
    weights = view.arrays["weights"][view.query]
    moved = np.where(weights[:, None] == 0, 0, weights[:, None] * view.arrays["v"])
    rows = np.concatenate([weights[:, None], moved], axis=1)
    left_out = np.delete(rows, view.keys, axis=0)
    total = [float(weights.sum()), *view.arrays["z"][view.query].tolist()]
    columns = ["weight", *(str(j) for j in range(moved.shape[1]))]
    names = [view.names[i] for i in view.keys]
    values = rows[view.keys]
    title = sentence("sum.table", keys=_keys(len(names)))
    if len(left_out):
        names.append(sentence("sum.others"))
        values = np.concatenate([values, left_out.sum(axis=0, keepdims=True)])
        title = sentence("sum.part", keys=len(view.keys), all=_keys(len(rows)))
    names.append("Σ")
    values = np.concatenate([values, [total]])
    tables = matrix(values, names, columns, view.look, last_is_sum=True)
    return [Text(f"\n    {title}", "dim"), *(Padding(table, (0, 0, 0, INDENT)) for table in tables)]


def _keys(count: int) -> str:
    return sentence("sum.key_one") if count == 1 else sentence("sum.key_many", count=count)

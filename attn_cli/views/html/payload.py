"""What the HTML page tells of, as plain data: blocks with the arrays that attention is computed
from, sentences about each step, and how the prediction comes about."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from attn_cli import __version__, vocabulary
from attn_cli.notes import place
from attn_cli.records import Attention, Ending, Prediction, Prompt, Trace
from attn_cli.views import numbers
from attn_cli.views import trace as page
from attn_cli.views.html import learned
from attn_cli.views.html.budget import COMPUTED_FROM, SHOWN, plan
from attn_cli.views.html.embedding import array
from attn_cli.views.items import Say, StepTitle, what_ifs
from attn_cli.views.text import label, labels, named
from attn_cli.words import Note, sentence

# What goes onto the stream in a layer, in order.
_STREAM = ("attention", "cross", "middle", "mlp", "inner", "convolution", "x")
# Values of a sentence that is about one query or one head, and so not about the whole block.
_OF_ONE = frozenset({"query", "slope", "sink", "share"})
_OF_CHANGES = ("mask.", "sum.pull", "sum.removed", "softmax.", "scale.value")
_TYPED = ("norm.hidden", "project.hidden", "project.hidden_bias")
_LITTLE, _LEAST = 1e-14, 1e-30
_PREDICTIONS = page.MOST_PREDICTIONS


@np.errstate(all="ignore")
def data(trace: Trace, keys: Mapping[tuple[str, str], tuple[int, ...]]) -> dict[str, Any]:
    """The data of the page, which shows these `keys` of each attention, or all."""
    told, masks = plan(trace), _Masks()
    return {
        "version": __version__,
        "model": _model(trace),
        "changes": [named(words) for words in vocabulary.changes(trace.settings)],
        "what_if": [str(said.words) for said in what_ifs(trace.settings)],
        "temperature": trace.settings["attention_temperature"],
        "mask_value": trace.settings["mask_value"],
        "vectors": told,
        "texts": [labels(read.labels) for read in _texts(trace)],
        "opening": _opening(trace),
        "sides": _sides(trace, keys),
        "blocks": [_block(trace, block, told, masks) for block in trace.attention],
        "masks": masks.found,
        "next": list(_predictions(trace)),
        "routing": learned.routing(trace),
        "notes": [named(str(said)) for said in trace.notes],
    }


def _model(trace: Trace) -> dict[str, Any]:
    facts = trace.model
    return {
        "name": named(facts.name),
        "family": named(facts.family),
        "layers": facts.layers,
        "heads": facts.heads,
        "width": facts.model_width,
        "head_width": facts.head_width,
        "stack": facts.stack,
        "vocabulary": facts.vocabulary,
        **learned.facts(facts),
        "terms": [n for n in vocabulary.TERMS if n in trace.attention[0].arrays],
    }


def _texts(trace: Trace) -> list[Prompt]:
    """What is read: the prompt, and in an encoder–decoder the target."""
    return [trace.prompt, *([trace.prompt.target] if trace.prompt.target else [])]


def _opening(trace: Trace) -> list[str]:
    """What tokens, layers and heads are, for who reads of them for the first time."""
    read = trace.prompt.of(trace.attention[0].stack)
    name = labels(read.labels)[read.followed]
    items = page.ending.opening(trace, None, name, onward=bool(trace.next))
    return [_words(item.words) for item in items if item.role == "plain"]


class _Masks:
    """The masks of all blocks, each once."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []
        self._places: dict[bytes, int] = {}

    def place(self, visible_QK: np.ndarray) -> int:
        key = visible_QK.tobytes() + str(visible_QK.shape).encode()
        if key not in self._places:
            self._places[key] = len(self.found)
            self.found.append(array(visible_QK))
        return self._places[key]


def _sides(trace: Trace, shown: Mapping[tuple[str, str], tuple[int, ...]]) -> dict[str, Any]:
    """The names of queries and keys of each attention, which keys to show, and which query to begin
    with."""
    found = {}
    for stack, kind in dict.fromkeys(block.address[:2] for block in trace.attention):
        queries, keys = trace.prompt.sides(stack, kind)
        found[f"{stack}.{kind}"] = {
            "queries": labels(queries.labels),
            "keys": labels(keys.labels),
            "shown": list(shown.get((stack, kind), range(len(keys.tokens)))),
            "follow": trace.prompt.of(stack).followed,
        }
    return found


def _block(trace: Trace, block: Attention, told: str, masks: _Masks) -> dict[str, Any]:
    group, arrays = trace.model.group_of(block.stack), block.arrays
    stored = {name: array(arrays[name]) for name in COMPUTED_FROM if name in arrays}
    rows = list(block.rows or block.queries)
    return {
        "at": f"{block.stack}.{block.kind}",
        "stack": block.stack,
        "layer": block.layer,
        "name": str(place(trace.model, block)),
        "heads": list(block.heads),
        "crosses": block.address.crosses,
        "first": not block.layer,
        "every": len(block.heads) == trace.model.heads_of(block.stack),
        "kv": [block.kv_heads.index(head // group) for head in block.heads],
        "removed": list(block.removed),
        "rows": rows,
        "scale": float(np.float32(block.scale)),
        "cap": block.soft_cap,
        "mask": masks.place(block.visible),
        "what_if": sorted(block.what_if),
        "arrays": stored,
        "out": _out(arrays["w_o"], told),
        "vectors": {n: _vectors(arrays[n], told) for n in SHOWN if n in arrays},
        **learned.of_block(trace, block, told),
        "stream": _stream(trace, block),
        "told": _told(trace, block),
    }


def _out(w_HVM: np.ndarray, told: str) -> dict[str, Any]:
    """What makes `head_output` of z: each head's slice of W_O, or, where only its length is told,
    the triangle L with L·Lᵀ = W_O·W_Oᵀ, row by row: ‖z·W_O‖ = ‖z·L‖."""
    if told == "float":
        return {"whole": True, **array(w_HVM)}
    heads, width, _ = w_HVM.shape
    wide = w_HVM.astype(np.float64)
    gram = wide @ wide.swapaxes(1, 2)
    at = np.tril_indices(width)
    if not np.isfinite(gram).all():
        return {"whole": False, **array(np.full((heads, len(at[0])), np.nan))}
    # Where rows of W_O depend on one another the product has no such triangle but for this.
    size = np.trace(gram, axis1=1, axis2=2)[:, None, None] / width
    l_HVV = np.linalg.cholesky(gram + np.eye(width) * np.maximum(_LITTLE * size, _LEAST))
    return {"whole": False, **array(l_HVV[:, at[0], at[1]])}


def _vectors(values: np.ndarray, told: str) -> dict[str, Any]:
    """An array whose rows are vectors, or their lengths."""
    if told == "length":
        return {"length": True, **array(np.linalg.norm(values.astype(np.float64), axis=-1))}
    return {"length": False, **array(values, half=told == "half")}


def _stream(trace: Trace, block: Attention) -> dict[str, Any]:
    """The length of x of each query, of what the layer adds to it, and of what leaves."""
    shown = [name for name in _STREAM if name in block.shown]
    if not {"x", "attention", "mlp"} <= {*shown} or "x" not in block.arrays:
        return {}
    rows = [block.arrays["x"], *(block.shown[name] for name in shown)]
    lengths = np.stack([np.linalg.norm(row.astype(np.float64), axis=1) for row in rows])
    return {"names": ["x", *shown[:-1], "next"], "lengths": array(lengths)}


def _told(trace: Trace, block: Attention) -> dict[str, Any]:
    """The title of each step and the sentences that hold for all queries and heads of the block;
    those about the mask apart."""
    everything = block.rows or block.queries, block.keys
    view = page.view_of(trace, block, 0, everything, follow=False, full=False)
    found = {}
    for number in range(1, 7):
        items = list(page.steps_of(view, frozenset({number}), first=True))
        titles = [item.equation for item in items if isinstance(item, StepTitle)]
        said = [one for item in items if isinstance(item, Say) for one in _sentences(item.words)]
        lasting = [one for one in said if not _OF_ONE & one.values.keys()]
        plain = sentence(f"step.equation_{number}")
        found[str(number)] = {
            "title": numbers.in_words(titles[0] if titles and titles[0] else plain, 2),
            "said": [_words(one) for one in lasting if not one.key.startswith(_OF_CHANGES)],
            "mask": [_words(one) for one in lasting if _of_mask(one)],
        }
    return found


def _sentences(words: Note) -> Iterator[Note]:
    """The sentences of a paragraph."""
    if words.key == "page.on":
        yield words.values["first"]
        yield from _sentences(words.values["rest"])
    else:
        yield words


def _of_mask(said: Note) -> bool:
    apart = ("mask.what", "mask.infinite", "mask.layout")
    return said.key.startswith("mask.") and said.key not in apart


def _words(said: Note) -> str:
    return numbers.in_words(_without_options(said), 2)


def _without_options(said: Any) -> Any:
    """A remark without what is there for who types in a terminal."""
    if not isinstance(said, Note):
        return said
    if said.key in _TYPED:
        return ""
    return Note(said.key, {name: _without_options(value) for name, value in said.values.items()})


def _predictions(trace: Trace) -> Iterator[dict[str, Any]]:
    """What comes next, with what its logits are made of."""
    names = labels(trace.prompt.last.labels)
    for number, found in enumerate(trace.next[:_PREDICTIONS]):
        ends = trace.ending[number : number + 1]
        yield {
            "stack": trace.model.stack,
            "position": found.position,
            "what_if": found.provenance == vocabulary.WHAT_IF,
            "said": _said_of(trace, found, ends, names[found.position]),
            "candidates": [
                {"text": label(c.text, 24), "logit": float(c.logit), "share": float(c.probability)}
                for c in found.candidates
            ],
            **(_ending(ends[0], found) if ends else {}),
        }


def _said_of(
    trace: Trace, found: Prediction, ends: tuple[Ending, ...], query: str
) -> dict[str, Any]:
    items = page.ending.prediction(found, ends, trace.model, query, parameters=False, followed=True)
    said = [item for item in items if isinstance(item, Say)]
    return {
        "title": next((_words(s.words) for s in said if s.role == "title"), ""),
        "plain": [_words(one) for s in said if s.role == "plain" for one in _sentences(s.words)],
    }


def _ending(end: Ending, found: Prediction) -> dict[str, Any]:
    powers = [float(np.exp(np.float64(c.logit) - end.top)) for c in found.candidates]
    return {
        "final": array(end.final),
        "vectors": array(end.vectors),
        "biases": end.biases.tolist(),
        "top": float(end.top),
        "total": float(end.total),
        "powers": [*powers, end.share * end.total],
        "others": {
            "text": sentence("column.others", count=numbers.count(end.others)),
            "share": float(end.share),
        },
    }

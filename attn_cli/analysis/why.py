"""Why one cell is what it is: every product, sum and power on the way from q and k to a weight,
and what the weight then moves: this key's part of the block's output and of a logit."""

from typing import NamedTuple

import numpy as np

from attn_cli import vocabulary
from attn_cli.analysis.heads import found
from attn_cli.analysis.parts import frozen
from attn_cli.errors import UsageError
from attn_cli.maths.attention import PRODUCT
from attn_cli.maths.layers import cosine
from attn_cli.records import Address, Attention, Ending, Facts, Prediction, Trace

NEEDS = frozenset({
    "q", "k", "v", "q_position", "k_position", *vocabulary.TERMS, "scores", "scaled", "bias",
    "visible", "masked", "sink", "weights", "sink_share", "w_o", "output", "mlp_output",
})  # fmt: skip
NONE = float("nan")


class Product(NamedTuple):
    """One product of a sum, left × right; `index` is its dimension, key or head."""

    index: int
    left: float
    right: float
    value: float


class Dot(NamedTuple):
    """A sum of products, the largest first, and its value as the trace has it."""

    name: str
    products: tuple[Product, ...]
    value: float


class Power(NamedTuple):
    """One key of the softmax row: its `masked` score, that less the largest, e to the power of
    that (over the attention temperature), and its weight."""

    key: int
    masked: float
    shifted: float
    power: float
    weight: float


class Added(NamedTuple):
    """What weight × value of one key adds to the query's `output`.

    `value_norm` is ‖v·W_O‖ through this head's slice of W_O, `norm` = weight × that; `cosine` is
    with `output`, whose length is `output_norm`; all 0 where the head is removed.
    """

    value_norm: float
    norm: float
    cosine: float
    output_norm: float


class Direct(NamedTuple):
    """What this adds to the logit of the predicted token without passing another layer.

    The vector goes through the last norm, and one after the block if there is, with mean and scale
    as they are for the whole x (frozen), and is multiplied with the token's row of the output
    matrix; a `soft_cap` on logits (0: none) acts later. `norm` is the kind of the last norm, empty
    where there is none. Where there is no such path `added` is NaN and `reason` one of `REASONS`.
    """

    id: int
    token: str
    position: int
    logit: float
    added: float
    soft_cap: float
    norm: str
    reason: str


# Why a vector has no part of its own in a logit: nothing is predicted; it belongs to the encoder,
# or to another position; every later norm acts on the whole; a further map and activation do.
REASONS = ("", "nothing", "encoder", "position", "post-norm", "transform")


class Cell(NamedTuple):
    """The arithmetic of one cell of `weights`, each number as the trace has it.

    `terms` add up to `scores`: one dot product, in some families two more. `multiplied` = scores ×
    `scale`; `capped` = cap × tanh(multiplied ÷ cap), with a `soft_cap` of 0 the same; with `bias`
    (NaN: none) added it is `scaled`. `row` is every key that has a weight, the largest first;
    `total` the sum of its powers, that of a sink included: one more score in the row, which belongs
    to no key (`sink_row`, of key −1, is empty where there is none). `unhidden` is the weight that a
    hidden key would have with its own score and the others as they are, NaN for a visible one.
    """

    stack: str
    kind: str
    layer: int
    head: int
    kv_head: int
    query: int
    key: int
    provenance: str
    visible: bool
    removed: bool
    terms: tuple[Dot, ...]
    scores: float
    scale: float
    multiplied: float
    soft_cap: float
    capped: float
    bias: float
    scaled: float
    masked: float
    attention_temperature: float
    largest: float
    row: tuple[Power, ...]
    total: float
    weight: float
    unhidden: float
    added: Added
    direct: Direct
    sink_row: tuple[Power, ...] = ()


@np.errstate(all="ignore")
def why(trace: Trace, where: int | Address, head: int, query: int, key: int | None = None) -> Cell:
    """One cell of a traced head, the strongest of the query's row if no key is given.

    The trace needs `NEEDS`, every key of that query, and its `ending`. Raises UsageError if it
    lacks the block.
    """
    block = found(trace, where)
    at, place = of_query(block, head, query)
    weights = block.weights[place, at]
    key = int(np.argmax(np.nan_to_num(weights))) if key is None else key
    visible = bool(block.visible[at, key])
    temperature = float(trace.settings["attention_temperature"])
    row, sink = _row(block, place, at, temperature)
    every = (*row, *sink)
    total = float(sum(one.power for one in every))
    scores, scaled, masked = (float(a[place, at, key]) for a in _of_cell(block))
    bias = float(block.bias[place, at, key]) if "bias" in block.arrays else NONE
    kv_place = block.kv_heads.index(kv_head := head // trace.model.group_of(block.stack))
    moved = _moved(block, place, kv_place, key, float(weights[key]))
    return Cell(
        stack=block.stack, kind=block.kind, layer=block.layer, head=head, kv_head=kv_head,
        query=query, key=key, provenance=block.provenance("weights"), visible=visible,
        removed=head in block.removed, terms=_terms(block, place, kv_place, at, key),
        scores=scores, scale=block.scale, multiplied=scores * block.scale,
        soft_cap=block.soft_cap, capped=scaled - (0 if np.isnan(bias) else bias), bias=bias,
        scaled=scaled, masked=masked, attention_temperature=temperature,
        largest=float(np.max([one.masked for one in every])) if every else NONE,
        row=row, total=total, weight=float(weights[key]),
        unhidden=NONE if visible else _unhidden(scaled, every, temperature),
        added=_added(block, at, moved, float(weights[key])),
        direct=direct(trace, block, query, moved), sink_row=sink,
    )  # fmt: skip


def of_query(block: Attention, head: int, query: int) -> tuple[int, int]:
    """Where a query and a head stand in a block's arrays. Raises UsageError."""
    if head not in block.heads or query not in block.queries:
        raise UsageError(f"head {head} and query {query} were not traced", "trace(…, head=…)")
    return block.queries.index(query), block.heads.index(head)


def _of_cell(block: Attention) -> tuple[np.ndarray, ...]:
    return block.scores, block.scaled, block.masked


def dot(name: str, left: np.ndarray, right: np.ndarray, value: float) -> Dot:
    """The products of two vectors, the largest first."""
    pairs = np.stack([left, right]).astype(np.float64)
    products = pairs[0] * pairs[1]
    order = np.argsort(-np.abs(np.nan_to_num(products)), kind="stable").tolist()
    return Dot(name, tuple(Product(i, *pairs[:, i].tolist(), float(products[i])) for i in order),
               value)  # fmt: skip


def _terms(block: Attention, place: int, kv_place: int, at: int, key: int) -> tuple[Dot, ...]:
    """What a score is the sum of: the dot product, and where there are some the terms of distance.

    These multiply the query, or the key, with the vector of one distance: the row whose product
    the term is.
    """
    q, k = block.q[place, at], block.k[kv_place, key]
    names = [name for name in vocabulary.TERMS if name in block.arrays]
    if not names:
        return (dot("scores", q, k, float(block.scores[place, at, key])),)
    found = []
    for name in names:
        value = block.arrays[name][place, at, key]
        left, right = q, k
        if name != PRODUCT:
            left, table = (q, "k_position") if name == "content_to_position" else (k, "q_position")
            rows = block.arrays[table][place]
            right = rows[np.argmin(np.abs(rows @ left - value))] if value else np.zeros_like(left)
        found.append(dot(name, left, right, float(value)))
    return tuple(found)


def _row(
    block: Attention, place: int, at: int, temperature: float
) -> tuple[tuple[Power, ...], tuple[Power, ...]]:
    """The keys of a row that have a weight, and its sink if it has one."""
    masked, weights = block.masked[place, at], block.weights[place, at]
    if sunk := "sink" in block.arrays:
        masked = np.append(masked, block.sink[place])
        weights = np.append(weights, block.sink_share[place, at])
    masked = masked.astype(np.float64)
    keys = np.flatnonzero(~np.isneginf(masked))
    if not keys.size:
        return (), ()
    shifted = masked - masked[keys].max()
    powers = np.exp(shifted / temperature) if temperature else (shifted == 0).astype(np.float64)
    order = keys[np.argsort(-np.nan_to_num(weights[keys]), kind="stable")]
    numbers, count = np.stack([masked, shifted, powers, weights]), len(masked) - sunk
    found = [Power(int(key), *numbers[:, key].tolist()) for key in order]
    row = tuple(one for one in found if one.key < count)
    return row, tuple(one._replace(key=-1) for one in found if one.key == count)


def _unhidden(scaled: float, row: tuple[Power, ...], temperature: float) -> float:
    """The weight of one more key of this score."""
    masked = np.array([*(one.masked for one in row), scaled])
    shifted = masked - masked.max()
    powers = np.exp(shifted / temperature) if temperature else (shifted == 0) * 1.0
    return float(powers[-1] / powers.sum())


def _moved(block: Attention, place: int, kv_place: int, key: int, weight: float) -> np.ndarray:
    """(2, model): v·W_O of a key, and that times its weight."""
    value = block.v[kv_place, key].astype(np.float64) @ block.w_o[place].astype(np.float64)
    kept = 0.0 if block.heads[place] in block.removed else 1.0
    return np.stack([value, np.nan_to_num(value * weight, nan=NONE)]) * kept


def _added(block: Attention, at: int, moved: np.ndarray, weight: float) -> Added:
    output = block.output[at].astype(np.float64)
    value_norm, norm = np.linalg.norm(moved, axis=1).tolist()
    return Added(value_norm, norm, cosine(moved[1], output), float(np.linalg.norm(output)))


def direct(trace: Trace, block: Attention, query: int, moved: np.ndarray) -> Direct:
    """What the last of `moved` (…, model), a part of the block's output, adds to a logit."""
    if not trace.next:
        return Direct(-1, "", -1, NONE, NONE, 0.0, "", "nothing")
    own = [i for i, entry in enumerate(trace.next) if entry.position == query]
    which = own[0] if own and block.stack == trace.model.stack else 0
    entry, end = trace.next[which], trace.ending[which]
    best = entry.candidates[0]
    reason = _no_path(trace.model, block, entry, query)
    added = NONE if reason else _through_last_norm(trace.model, block, query, moved[-1], end)
    facts = trace.model
    return Direct(
        id=best.id, token=best.text, position=entry.position, logit=best.logit, added=added,
        soft_cap=facts.logit_cap, norm=facts.norm if facts.last_norm else "", reason=reason,
    )  # fmt: skip


def _no_path(facts: Facts, block: Attention, entry: Prediction, query: int) -> str:
    """Why nothing goes from here to the logit without passing another layer, "" if it does."""
    if block.stack != facts.stack:
        return "encoder"
    if facts.residual not in ("added", "normed"):
        return "post-norm"
    if facts.transform:
        return "transform"
    return "" if entry.position == query else "position"


def _through_last_norm(
    facts: Facts, block: Attention, query: int, vector: np.ndarray, end: Ending
) -> float:
    if facts.residual == "normed":  # the norm after the block, its root frozen too
        output = block.output[block.queries.index(query)].astype(np.float64)
        vector = np.where(output == 0, 0, vector * (block.shown["attention"][query] / output))
    vector = vector * facts.residual_factor
    if facts.last_norm:
        vector = frozen(facts, end.x[None], end.w_norm).of(vector[None])[0]
    return float(vector @ end.vectors[0] * facts.logit_scale)

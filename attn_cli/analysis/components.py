"""Who wrote what a head matched: a score as the sum of part-of-query × part-of-key.

What enters a layer is a sum of parts by writer (`analysis.parts`). With the scale of the norms
frozen, a query and a key are sums too, each part rotated by its own position, and a score is the
sum over all pairs (Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"; Kamath
et al. 2025, "Tracing Attention Computation Through Feature Interactions", here by component).

Axes, as suffixes: W writer, P position, M model, D width of a query or key.
"""

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from attn_cli import room, session, vocabulary
from attn_cli.analysis import maps, parts
from attn_cli.analysis.entry import bias_of_norm, turning
from attn_cli.analysis.parts import Frozen, Layer, Stream, Writer, entering_norm, split
from attn_cli.errors import ContentError, UsageError
from attn_cli.maths.positions import Rotary, rotate
from attn_cli.model.family import Model
from attn_cli.model.stack import Request
from attn_cli.model.weights import NOTHING
from attn_cli.model.what_if import UNCHANGED, Changes
from attn_cli.records import Address, Attention, Facts, Passed, Prompt

NEEDS = maps.NEEDS - {"w_v", "b_v", "w_v_latent"} | {
    "x", "w_norm", "b_norm", "normed", "q_unrotated", "k_unrotated", "q", "k", "key_x",
    *vocabulary.TERMS, "scores", "scaled", "bias", "visible", "weights",
}  # fmt: skip
_PAIRS = 100  # that a record holds


class Wrote(NamedTuple):
    """What one writer adds. `kind`, `layer` and `head` (-1: none) name it, `writer` in words."""

    writer: str
    kind: str
    layer: int
    head: int
    value: float


class Pair(NamedTuple):
    """What one writer's part of the query does with one writer's part of the key."""

    query_writer: str
    key_writer: str
    value: float


class Components(NamedTuple):
    """The split of one cell, in the numbers that softmax compares: scores × scale, before a soft
    cap, with a bias on positions.

    `value` is the cell's own; `mean` that of the `others` other keys that the query sees, and
    `advantage` = value − mean (0 others: the value itself). `by_key`, `by_query` and `pairs` split
    the advantage, the largest first; `pairs` are the largest, the others add up to `remainder`.
    `reconstructed` is the sum of all pairs of the value itself, `error` = |reconstructed − value| ÷
    max(1, |value|).
    """

    stack: str
    kind: str
    layer: int
    head: int
    query: int
    key: int
    provenance: str
    visible: bool
    weight: float
    scores: float
    scale: float
    soft_cap: float
    value: float
    others: int
    mean: float
    advantage: float
    by_key: tuple[Wrote, ...]
    by_query: tuple[Wrote, ...]
    pairs: tuple[Pair, ...]
    remainder: float
    reconstructed: float
    error: float


class Chain(NamedTuple):
    """A cell, and with a step back that of the head which wrote most of it."""

    cells: tuple[Components, ...]


class _Side(NamedTuple):
    """How vectors of some positions become one head's queries or keys, as a linear map of parts.

    `scale_PD` is what clipping, the norm of a latent, and that of queries and keys multiply by,
    before the rotation or once it is done (`late`); the last subtracts the mean first if it is
    `centred`, and adds `norm_bias_D`, before the rotation. The first `rotated_from` dimensions do
    not rotate. A bias of size 0 is none.
    """

    norm: Frozen
    w_MD: np.ndarray
    bias_D: np.ndarray
    scale_PD: np.ndarray
    cos_PR: np.ndarray
    sin_PR: np.ndarray
    interleaved: bool
    rotated_from: int = 0
    late: bool = False
    centred: bool = False
    norm_bias_D: np.ndarray = NOTHING

    def of(self, values: np.ndarray, rows: slice = slice(None)) -> np.ndarray:
        """Parts (…, position, model) to theirs of a query or key (…, position, width)."""
        norm = self.norm._replace(inverse_P=self.norm.inverse_P[rows])
        return self._turned(norm.of(values.astype(np.float64)) @ self.w_MD, rows)

    def _turned(self, raw: np.ndarray, rows: slice = slice(None)) -> np.ndarray:
        raw = self._rotated(raw if self.late else self._scaled(raw, rows), rows)
        return self._scaled(raw, rows) if self.late else raw

    def _rotated(self, raw: np.ndarray, rows: slice = slice(None)) -> np.ndarray:
        if not self.cos_PR.size:
            return raw
        by = Rotary(self.cos_PR[rows], self.sin_PR[rows], interleaved=self.interleaved)
        first, last = np.split(raw, [self.rotated_from], axis=-1)
        (last,) = rotate([last], by)
        return np.concatenate([first, last], axis=-1) if self.rotated_from else last

    def _scaled(self, raw: np.ndarray, rows: slice) -> np.ndarray:
        raw = raw - raw.mean(axis=-1, keepdims=True) if self.centred else raw
        return raw * self.scale_PD[rows]

    def scaled_to(self, found_PD: np.ndarray, raw_PD: np.ndarray) -> "_Side":
        """The same with the scale under which these vectors become what was found."""
        plain = self._replace(scale_PD=np.ones_like(raw_PD))
        of_PD = plain._turned(raw_PD) if self.late else plain._scaled(raw_PD, slice(None))
        scale_PD = np.divide(found_PD, of_PD, out=np.ones_like(of_PD), where=of_PD != 0)
        return self._replace(scale_PD=scale_PD)

    def constants(self, letter: str, layer: int) -> dict[Writer, np.ndarray]:
        """What is there whatever the parts: the biases of the norm, of the map and of its norm."""
        shape = (len(self.norm.inverse_P), self.w_MD.shape[1])
        found = {"entering_norm": self.norm.bias_M @ self.w_MD if self.norm.bias_M.size else None,
                 f"bias_{letter}": self.bias_D if self.bias_D.size else None}  # fmt: skip
        made = {
            Writer(kind, layer): self._turned(np.broadcast_to(vector, shape).astype(np.float64))
            for kind, vector in found.items() if vector is not None
        }  # fmt: skip
        if self.norm_bias_D.size:
            added = np.broadcast_to(self.norm_bias_D, shape).astype(np.float64)
            made[Writer(f"norm_bias_{letter}", layer)] = self._rotated(added)
        return made


@np.errstate(all="ignore")
def components_steps(
    model: Model,
    prompt: Prompt,
    where: Address,
    head: int,
    query: int,
    key: int | None = None,
    changes: Changes = UNCHANGED,
    max_memory: int = 0,
) -> Generator[Passed, None, Components]:
    """The split of one cell, the strongest of the query's row if no key is given.

    Two passes: the layer's own vectors freeze the norm that the parts of the second go through.
    In cross-attention the encoder's end is one part. Yields each layer that is done. Raises
    ContentError for what needs more than `max_memory`.
    """
    own = session.request_for(
        prompt, blocks=frozenset({where}), heads={where.stack: (head,)}, arrays=NEEDS,
        what_if=changes, whole=False,
    )  # fmt: skip
    _check(model, prompt, where, changes, max_memory, own)
    found, _ = yield from session.running(model, prompt.last.ids, own)
    block = found[where]
    key = int(np.argmax(np.nan_to_num(block.weights[0, query]))) if key is None else key
    seen = np.flatnonzero(block.visible[query])
    at = _At(query, key, np.array(sorted({*seen.tolist(), key}), int))
    facts, other = model.facts, [int(place) for place in at.keys if place != key and place in seen]
    q_side = _side(facts, block, "q", [query])
    k_side = _side(facts, block, "k", at.keys)
    sums = _Sums(q_side, k_side, at, np.isin(at.keys, other))
    if where.crosses:
        sums.take_keys(Writer("encoder"), block.key_x[at.keys])
    positions = sorted({query, *([] if where.crosses else at.keys)})
    pieces = _pieces(model, prompt, where, positions, changes)
    yield from session.taking(pieces, lambda piece: sums.take(*piece, crosses=where.crosses))
    return _found(block, where, head, at, other, sums)


class _At(NamedTuple):
    """The cell, and every key that is looked at: the visible ones and the cell's own."""

    query: int
    key: int
    keys: np.ndarray


class _Sums:
    """What each writer makes of the query, of the key, and of the key less the mean of others."""

    def __init__(self, q_side: _Side, k_side: _Side, at: _At, others_K: np.ndarray) -> None:
        self._q_side, self._k_side, self._at, self._others_K = q_side, k_side, at, others_K
        self._place = at.keys.tolist().index(at.key)
        self.q: dict[Writer, np.ndarray] = {}
        self.k: dict[Writer, np.ndarray] = {}
        self.above: dict[Writer, np.ndarray] = {}

    def take(self, writers: tuple[Writer, ...], positions: list[int], values_WPM: np.ndarray,
             *, crosses: bool) -> None:  # fmt: skip
        """Parts of what enters the layer, at these positions."""
        place = positions.index(self._at.query)
        rows = [positions.index(key) for key in self._at.keys] if not crosses else []
        for writer, part_PM in zip(writers, values_WPM, strict=True):
            self.add_query(writer, self._q_side.of(part_PM[place : place + 1])[0])
            if rows:
                self.take_keys(writer, part_PM[rows])

    def take_keys(self, writer: Writer, part_KM: np.ndarray) -> None:
        """A part of what all keys are made from."""
        self.add_keys(writer, self._k_side.of(part_KM))

    def add_query(self, writer: Writer, part_D: np.ndarray) -> None:
        self.q[writer] = self.q.get(writer, 0) + part_D

    def add_keys(self, writer: Writer, part_KD: np.ndarray) -> None:
        own = part_KD[self._place]
        mean = part_KD[self._others_K].mean(axis=0) if self._others_K.any() else 0.0
        self.k[writer] = self.k.get(writer, 0) + own
        self.above[writer] = self.above.get(writer, 0) + own - mean

    def close(self, layer: int) -> None:
        """Adds what is there whatever the parts."""
        for writer, part in self._q_side.constants("q", layer).items():
            self.add_query(writer, part[0])
        for writer, part in self._k_side.constants("k", layer).items():
            self.add_keys(writer, part)


def _check(
    model: Model, prompt: Prompt, where: Address, changes: Changes, max_memory: int, own: Request
) -> None:
    """Raises ContentError where the parts of what enters a block, one in float64, do not fit beside
    its `own` record. Parts that no later norm acts on are there for one layer at a time."""
    facts, plain = model.facts, model.facts.residual in parts.PLAIN
    tokens = range(len(prompt.of(where.stack).tokens))
    request = parts.entering_request(facts, prompt, where, tokens, changes)
    writers = (1 if plain else where.layer) * (facts.heads_of(where.stack) + 3) + 3 * (not plain)
    room.check(
        model, prompt, request, max_memory, forgotten=plain,
        beside=[room.Run(model, prompt, own)],
        made=room.Made(bytes=8 * writers * facts.model_width * len(tokens)),
    )  # fmt: skip


def _side(facts: Facts, block: Attention, letter: str, positions: Sequence[int]) -> _Side:
    """The map that makes queries, or keys, of these positions."""
    rows, arrays = np.array(positions, int), block.arrays
    crosses = letter == "k" and block.address.crosses
    if crosses:
        x_PM, norm = block.key_x[rows], Frozen(np.ones(len(rows)))
        normed_PM = x_PM
    else:
        norm = entering_norm(facts, block)
        norm = norm._replace(inverse_P=norm.inverse_P[rows])
        normed_PM = norm.whole(arrays["x"][rows].astype(np.float64))
    way = maps.leading(block, letter, 0)
    w_MD, bias_D, scale_PD = way.w_MW, way.b_W, way.scale(normed_PM)
    cos, sin = turning(block, positions)
    late, centred = facts.head_norm == "rotated", bool(facts.head_norm) and facts.norm == "layer"
    side = _Side(
        norm, w_MD, bias_D, scale_PD, cos, sin, facts.interleaved, facts.rotated_from, late, centred
    )
    if facts.head_norm or facts.clipped:
        found = arrays[letter] if late else arrays.get(f"{letter}_unrotated", arrays[letter])
        own = (block.heads if letter == "q" else block.kv_heads)[0]
        added_D = bias_of_norm(block, letter, own)
        found_PD = found[0, rows] - (added_D if added_D.size else 0)
        side = side.scaled_to(found_PD, way.of(normed_PM))
        side = side._replace(norm_bias_D=added_D)
    if letter == "q" and "query_factor" in block.shown:
        factor_P1 = block.shown["query_factor"][rows, None]
        side = side._replace(scale_PD=side.scale_PD * factor_P1)
    return side


def _pieces(
    model: Model, prompt: Prompt, where: Address, positions: list[int], changes: Changes
) -> Iterator[Passed | tuple[tuple[Writer, ...], list[int], np.ndarray]]:
    """The parts of what enters a block, at these positions, as they are made: layer by layer where
    no later norm acts on them, else all in the end."""
    facts, plain = model.facts, model.facts.residual in parts.PLAIN
    request = parts.entering_request(facts, prompt, where, positions, changes)
    stream = Stream()
    for step in split(facts, session.records(model, prompt.last.ids, request), where.stack):
        if isinstance(step, Passed):
            yield step
            continue
        stream.take(*step.embedding, *_before(step, where))
        if plain:
            found, stream = stream.parts(step.leaving_PM), Stream()
            yield found.writers, positions, found.values
    if not plain:
        found = stream.parts(step.leaving_PM)
        yield found.writers, positions, found.values


def _before(step: Layer, where: Address) -> tuple:
    """The moves of a layer that come before the block in question."""
    if step.layer < where.layer:
        return step.moves
    if not where.crosses:
        return ()
    crosses = [
        place for place, move in enumerate(step.moves)
        if not isinstance(move, Frozen) and move.writers[0].kind.startswith("cross")
    ]  # fmt: skip
    return step.moves[: crosses[0]]


def _found(
    block: Attention, where: Address, head: int, at: _At, others: list[int], sums: _Sums
) -> Components:
    sums.close(where.layer)
    beside = {
        Writer(name): float(row[at.key] - (row[others].mean() if others else 0.0))
        for name, row in _beside(block, at.query).items()
    }
    row = (block.scores if block.soft_cap else block.scaled)[0, at.query].astype(np.float64)
    row = row * block.scale if block.soft_cap else row
    value, mean = float(row[at.key]), float(row[others].mean()) if others else 0.0
    q_WD, above_WD = (np.stack(list(parts.values())) for parts in (sums.q, sums.above))
    pairs_WW = q_WD @ above_WD.T * block.scale
    reconstructed = float(q_WD.sum(axis=0) @ sum(sums.k.values())) * block.scale
    reconstructed += sum(float(of[at.key]) for of in _beside(block, at.query).values())
    pairs = _largest(pairs_WW, list(sums.q), list(sums.above))
    sides = (
        wrote((*writers, *beside), [*pairs_WW.sum(axis=axis).tolist(), *beside.values()])
        for writers, axis in ((sums.above, 0), (sums.q, 1))
    )
    return Components(
        **where._asdict(), head=head, query=at.query, key=at.key,
        provenance=block.provenance("weights"), visible=bool(block.visible[at.query, at.key]),
        weight=float(block.weights[0, at.query, at.key]),
        scores=float(block.scores[0, at.query, at.key]), scale=block.scale,
        soft_cap=block.soft_cap, value=value,
        others=len(others), mean=mean, advantage=value - mean,
        **dict(zip(("by_key", "by_query"), sides, strict=True)), pairs=pairs,
        remainder=float(pairs_WW.sum() + sum(beside.values()) - sum(p.value for p in pairs)),
        reconstructed=reconstructed, error=abs(reconstructed - value) / max(1.0, abs(value)),
    )  # fmt: skip


def _beside(block: Attention, query: int) -> dict[str, np.ndarray]:
    """What no pair writes, of each key: the terms of distance and the bias on positions."""
    names = [name for name in vocabulary.TERMS[1:] if name in block.arrays]
    found = {name: block.arrays[name][0, query].astype(np.float64) * block.scale for name in names}
    if "bias" in block.arrays:
        found["position_bias"] = block.bias[0, query].astype(np.float64)
    return found


def _largest(pairs_WW: np.ndarray, q: list[Writer], k: list[Writer]) -> tuple[Pair, ...]:
    order = np.argsort(-np.abs(np.nan_to_num(pairs_WW)), axis=None, kind="stable")[:_PAIRS]
    places = (np.unravel_index(place, pairs_WW.shape) for place in order)
    return tuple(Pair(q[a].label, k[b].label, float(pairs_WW[a, b])) for a, b in places)


def wrote(writers: Iterable[Writer], values: Iterable[float]) -> tuple[Wrote, ...]:
    """What each writer adds, the largest first."""
    found = [Wrote(w.label, *w, float(value)) for w, value in zip(writers, values, strict=True)]
    return tuple(sorted(found, key=lambda one: -abs(np.nan_to_num(one.value))))


def step_back(found: Components) -> tuple[int, int, int]:
    """The layer, the head and the position of the head that wrote most of a split, on either side.

    Raises UsageError where no head did, ContentError where the parts are no numbers.
    """
    if not math.isfinite(found.advantage):
        raise ContentError(
            "--step-back: the score, or that of another key, is NaN or infinite",
            "attn trace says where such numbers begin",
        )
    sides = ((found.by_key, found.key), (found.by_query, found.query))
    heads = [(one, place) for side, place in sides for one in side if one.kind == "head"]
    if not heads:
        raise UsageError(
            "--step-back: no head stands before this layer", "choose a later one with --layer"
        )
    side = math.copysign(1, found.advantage)
    best, place = max(heads, key=lambda pair: side * pair[0].value)
    return best.layer, best.head, place

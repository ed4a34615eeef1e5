"""A token's vector as the sum of what each part of the model wrote into it.

The vectors that enter a layer are a sum: the embedding, and what every earlier head, output bias
and feed-forward network added (Elhage et al. 2021, "A Mathematical Framework for Transformer
Circuits"). Where a norm acts on the sum, its mean and its scale are frozen, as they are in this
pass: then it is a linear map, which acts on each part by itself, and its bias is a part of its own.

Axes, as suffixes: W writer, P position (those chosen), M model.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple, TypeVar

import numpy as np

from attn_cli import session
from attn_cli.model.family import Model
from attn_cli.model.stack import Request
from attn_cli.model.weights import NOTHING
from attn_cli.model.what_if import UNCHANGED, Changes
from attn_cli.notes import writer as in_words
from attn_cli.records import Address, Attention, Facts, Mixed, Passed, Prompt
from attn_cli.words import in_english

T = TypeVar("T")
_EMBEDDING = ("token", "position", "type")
_ALONE = ("token", "scaled", "normed")  # where layer 0 is given nothing but the token's vector
# What the split is made of. Instead of heads and bias, the output of a block may be one part.
NEEDS = frozenset(
    {"x", "w_norm", "b_norm", "normed", "mlp_output", *(f"{name}_embedding" for name in _EMBEDDING)}
)
# Residuals in which no later norm acts on the parts.
PLAIN = ("added", "normed")
OF_HEADS = frozenset({"head_output", "b_o", "output"})


class Writer(NamedTuple):
    """What wrote a part of a vector.

    `kind` is `token`, `position` or `type` (or `embedding`, where these cannot be told apart);
    `head` and `bias` of a self-attention block, `cross_head` and `cross_bias` of cross-attention,
    or `attention` and `cross`, a whole block; `mlp`; `convolution` or another of
    `vocabulary.MIXERS`, beside attention or in its place; `norm`, the biases of the norms that
    follow a layer's sums. `layer` is -1 for the embedding, `head` for all but heads.
    """

    kind: str
    layer: int = -1
    head: int = -1

    @property
    def label(self) -> str:
        """`head 16.0`, `mlp 3`, `token`."""
        return in_english(in_words(*self))


class Added(NamedTuple):
    """What writers add to the stream, (writer, position, model)."""

    writers: tuple[Writer, ...]
    values_WPM: np.ndarray


class Frozen(NamedTuple):
    """A norm whose mean and scale are those of one vector of each position: a linear map.

    `inverse_P` is 1 / √(variance + ε), or of an RMS norm 1 / √(mean square + ε); a weight or bias
    of size 0 is none. `of` leaves out the `bias_M`, which is a part of its own.
    """

    inverse_P: np.ndarray
    weight_M: np.ndarray = NOTHING
    bias_M: np.ndarray = NOTHING
    centred: bool = False

    def of(self, values: np.ndarray) -> np.ndarray:
        """What the norm makes of parts (…, position, model)."""
        if self.centred:
            values = values - values.mean(axis=-1, keepdims=True)
        values = values * self.inverse_P[:, None]
        return values * self.weight_M if self.weight_M.size else values

    def back(self, directions_PM: np.ndarray) -> np.ndarray:
        """The directions whose products with parts are those of the given ones with `of` these."""
        found = directions_PM * self.weight_M if self.weight_M.size else directions_PM
        if self.centred:
            found = found - found.mean(axis=-1, keepdims=True)
        return found * self.inverse_P[:, None]

    def whole(self, values_PM: np.ndarray) -> np.ndarray:
        """What the norm makes of the vectors, bias included."""
        normed = self.of(values_PM)
        return normed + self.bias_M if self.bias_M.size else normed


Move = Added | Frozen


class Layer(NamedTuple):
    """What happens to the stream in a layer, move by move: parts are added, or a norm acts on all
    that is there, whose bias is added next.

    `moves` lead from what enters the layer to what leaves it, both (position, model); those of the
    `embedding` make what enters layer 0.
    """

    layer: int
    embedding: tuple[Move, ...]
    entering_PM: np.ndarray
    moves: tuple[Move, ...]
    leaving_PM: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """The parts (writer, position, model) whose sum the vectors `x` (position, model) are.

    A `remainder` is what rounding leaves; `error` is the largest number in it.
    """

    writers: tuple[Writer, ...]
    values: np.ndarray
    x: np.ndarray

    @property
    def remainder(self) -> np.ndarray:
        """What the parts do not add up to, (position, model)."""
        return self.x - self.values.sum(axis=0, dtype=np.float64)

    @property
    def error(self) -> float:
        """max |x − Σ parts|."""
        return float(np.abs(self.remainder).max())

    def to(self, vectors_PM: np.ndarray) -> "Parts":
        """The same under a map that multiplies each number of `x`, which gives these vectors.

        So a frozen RMS norm acts, whatever its weights.
        """
        return Parts(
            writers=self.writers, values=self.values * _ratio(vectors_PM, self.x), x=vectors_PM
        )


class Stream:
    """The parts that a stream of chosen positions has so far, as moves come."""

    def __init__(self) -> None:
        self._values: dict[Writer, np.ndarray] = {}

    def take(self, *moves: Move) -> None:
        """Adds parts, or lets a frozen norm act on each; what one writer adds is one part."""
        for move in moves:
            if isinstance(move, Frozen):
                self._values = {writer: move.of(part) for writer, part in self._values.items()}
                continue
            for writer, part_PM in zip(move.writers, move.values_WPM, strict=True):
                before = self._values.get(writer)
                self._values[writer] = part_PM if before is None else before + part_PM

    def parts(self, x_PM: np.ndarray) -> Parts:
        """The split of these vectors, which the parts should add up to."""
        return Parts(
            writers=tuple(self._values), values=np.stack(list(self._values.values())), x=x_PM
        )


def parts(
    model: Model,
    prompt: Prompt,
    positions: Sequence[int],
    layer: int,
    *,
    stack: str = "",
    changes: Changes = UNCHANGED,
    by_head: bool = True,
) -> Parts:
    """The split of what enters a layer, or of the end of the last one, at some positions.

    `layer` counts from 0, and the number of layers is the end; the `stack` is the model's own
    unless named. An encoder's parts are of the encoder alone. Without `by_head` the output of each
    attention block is one part.
    """
    steps = parts_steps(model, prompt, positions, layer, stack, changes, by_head=by_head)
    return session.finished(steps)


def parts_steps(
    model: Model,
    prompt: Prompt,
    positions: Sequence[int],
    layer: int,
    stack: str = "",
    changes: Changes = UNCHANGED,
    *,
    by_head: bool = True,
) -> Generator[Passed, None, Parts]:
    """`parts`, which yields each layer that is done."""
    stack = stack or model.facts.stack
    layers = range(max(layer, 1))
    request = request_for(
        model.facts, prompt, stack, positions, layers, changes, by_head=by_head, whole=False
    )
    stream, x_PM = Stream(), np.zeros((0, 0), np.float32)
    for step in split(model.facts, session.records(model, prompt.last.ids, request), stack):
        if isinstance(step, Passed):
            yield step
            continue
        stream.take(*step.embedding, *(step.moves if layer else ()))
        x_PM = step.leaving_PM if layer else step.entering_PM
    return stream.parts(x_PM)


def request_for(
    facts: Facts,
    prompt: Prompt,
    stack: str,
    positions: Sequence[int],
    layers: range,
    changes: Changes = UNCHANGED,
    *,
    by_head: bool = True,
    whole: bool = True,
) -> Request:
    """The request (see there) for what a split of these layers needs, at these positions alone."""
    kinds = [kind for own, kind in facts.attentions if own == stack]
    return session.request_for(
        prompt,
        blocks=frozenset(Address(stack, kind, layer) for layer in layers for kind in kinds),
        positions={(stack, kind): (tuple(positions), None) for kind in kinds},
        arrays=NEEDS | (OF_HEADS if by_head else frozenset()),
        what_if=changes,
        whole=whole,
    )


def entering_request(
    facts: Facts, prompt: Prompt, where: Address, positions: Sequence[int], changes: Changes
) -> Request:
    """The request of the parts of what enters a block, at these positions."""
    layers = range(where.layer + 1 if where.crosses else max(where.layer, 1))
    return request_for(facts, prompt, where.stack, positions, layers, changes, whole=False)


def split(
    facts: Facts, steps: Generator[Attention | Passed, None, T], stack: str
) -> Generator[Layer | Passed, None, T]:
    """Each layer of a stack from the records of a pass, and the other steps; returns its end.

    Nothing is kept of a layer once it has been yielded.
    """
    blocks: list[Attention] = []
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            if blocks:  # a pass that is not whole stops at its last record
                yield _layer(facts, blocks)
            return stop.value
        if isinstance(step, Attention):
            blocks.append(step)
            continue
        step = _mixed(facts, step) if isinstance(step, Mixed) else step
        if blocks:
            yield _layer(facts, blocks)
            blocks = []
        yield step


@np.errstate(all="ignore")
def entering_norm(facts: Facts, block: Attention) -> Frozen:
    """The norm before a block's projections, frozen; where there is none, what changes nothing.

    The sum of what it makes of the parts of `x`, and its bias, is the block's `normed`.
    """
    arrays = block.arrays
    if "normed" not in arrays:
        return Frozen(np.ones(len(arrays["x"])))
    learned = (arrays.get(name, NOTHING) for name in ("w_norm", "b_norm"))
    return frozen(facts, arrays["x"], *learned)


def frozen(
    facts: Facts, x_PM: np.ndarray, weight_M: np.ndarray = NOTHING, bias_M: np.ndarray = NOTHING
) -> Frozen:
    """A norm of the model's kind as it acts on these vectors, which it multiplies by its weight."""
    wide = x_PM.astype(np.float64)
    centred = facts.norm == "layer"
    squares_P = wide.var(axis=-1) if centred else (wide * wide).mean(axis=-1)
    return Frozen(1 / np.sqrt(squares_P + facts.epsilon), weight_M, bias_M, centred)


def _mixed(facts: Facts, found: Mixed) -> Layer:
    """A layer that has something else in place of attention."""
    writer = Writer("token" if facts.embedding in _ALONE else "embedding")
    made = () if found.layer else (Added((writer,), found.x[None]),)
    moves = (
        Added((Writer(found.what, found.layer),), found.added[None]),
        Added((Writer("mlp", found.layer),), found.mlp[None]),
    )
    return Layer(found.layer, made, found.x, moves, found.leaving)


@np.errstate(all="ignore")
def _layer(facts: Facts, blocks: Sequence[Attention]) -> Layer:
    first, rows = blocks[0], list(blocks[0].queries)
    made = _embedding(facts, first) if first.layer == 0 else ()
    moves = _moves(facts, blocks)
    return Layer(first.layer, tuple(made), first.x, tuple(moves), first.shown["x"][rows])


def _moves(facts: Facts, blocks: Sequence[Attention]) -> Iterator[Move]:
    first = blocks[0]
    x_PM = first.x.astype(np.float64)
    if facts.residual == "onto_normed":
        norm = entering_norm(facts, first)
        yield from _through(norm, first.layer)
        x_PM = norm.whole(x_PM)
    sums = (*(_attention(facts, block) for block in blocks), *_networks(first))
    for (added, total_PM), learned in zip_longest(sums, first.norms):
        yield added
        x_PM = x_PM + total_PM
        if learned is not None:
            norm = frozen(facts, x_PM, *learned)
            yield from _through(norm, first.layer)
            x_PM = norm.whole(x_PM)


def _embedding(facts: Facts, block: Attention) -> Iterator[Move]:
    """What layer 0 is given: the sum of its parts as it is, normed, or as one part."""
    arrays = block.arrays
    kinds = [kind for kind in _EMBEDDING if f"{kind}_embedding" in arrays]
    summed, normed = facts.embedding in ("sum", "projected"), facts.embedding == "sum_normed"
    if not (summed or (normed and "w_norm" in arrays and "normed" not in arrays)):
        writer = Writer("token" if facts.embedding in _ALONE else "embedding")
        yield Added((writer,), block.x[None])
        return
    values_WPM = np.stack([arrays[f"{kind}_embedding"] for kind in kinds])
    yield Added(tuple(Writer(kind) for kind in kinds), values_WPM)
    if normed:
        learned = (arrays.get(name, NOTHING) for name in ("w_norm", "b_norm"))
        yield from _through(frozen(facts, values_WPM.sum(axis=0, dtype=np.float64), *learned), -1)


def _through(norm: Frozen, layer: int) -> Iterator[Move]:
    """A norm on all that is there, and its bias."""
    yield norm
    if norm.bias_M.size:
        shape = (1, len(norm.inverse_P), norm.bias_M.size)
        yield Added((Writer("norm", layer),), np.broadcast_to(norm.bias_M, shape))


def _attention(facts: Facts, block: Attention) -> tuple[Added, np.ndarray]:
    """What the heads of a block and its bias add, or the block as a whole; and their sum."""
    cross, rows = "cross_" if block.address.crosses else "", list(block.queries)
    total_PM = block.shown["attention"][rows]
    if "head_output" not in block.arrays:
        kind = "cross" if cross else "attention"
        return Added((Writer(kind, block.layer),), total_PM[None]), total_PM
    values_WPM = block.head_output
    writers = [Writer(f"{cross}head", block.layer, head) for head in block.heads]
    if "b_o" in block.arrays:
        b_PM = np.broadcast_to(block.b_o, total_PM.shape)
        values_WPM = np.concatenate([values_WPM, b_PM[None]])
        writers.append(Writer(f"{cross}bias", block.layer))
    if facts.residual_factor != 1:
        values_WPM = values_WPM * facts.residual_factor
    if facts.residual == "normed":  # by an RMS norm, so it acts on each head by itself
        values_WPM = values_WPM * _ratio(total_PM, block.output)
    return Added(tuple(writers), values_WPM), total_PM


def _networks(block: Attention) -> Iterator[tuple[Added, np.ndarray]]:
    """What the feed-forward network adds, and the convolution of a layer that has one."""
    rows = list(block.queries)
    for kind in ("mlp", "convolution"):
        if kind in block.shown:
            total_PM = block.shown[kind][rows]
            yield Added((Writer(kind, block.layer),), total_PM[None]), total_PM


def _ratio(vectors: np.ndarray, of: np.ndarray) -> np.ndarray:
    """By what numbers are to be multiplied to give others; 0 of 0 is 0."""
    return np.divide(vectors, of, out=np.zeros(of.shape), where=of != 0)

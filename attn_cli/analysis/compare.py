"""How two passes differ: two prompts, two models, or one with and without a what-if."""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from attn_cli import session, vocabulary
from attn_cli.analysis.align import Alignment, alignment, partners
from attn_cli.analysis.beside import beside
from attn_cli.analysis.predicted import Predicted, predictions
from attn_cli.analysis.verify import NORMAL
from attn_cli.candidates import likeliest
from attn_cli.errors import UsageError
from attn_cli.maths import cores
from attn_cli.maths.gaps import row_gaps
from attn_cli.records import Address, Attention, Facts, Passed, Prompt, Trace
from attn_cli.session import Question
from attn_cli.words import Note, note

VERDICTS = EQUAL, ROUNDING, DIFFERENT = "equal", "rounding", "different"
_SHOWN = 10  # cells
_BLOCK = 1 << 16  # numbers that are compared at a time
# Of the first that is compared come the cells: what a query gives a key, else what leads to it.
_OF_CELLS = ("weights", "scaled", "scores")
Place = tuple[str, str]


class Side(NamedTuple):
    """What a pass was made of."""

    model: Facts
    prompt: Prompt
    settings: Mapping[str, Any]


class Difference(NamedTuple):
    """How an array differs in one block; `stack` and `layer` are the left one's.

    `largest` and `mean` are of |left − right|, `relative` is the largest of a row over the larger
    of 1 and the largest number of the left row, as `verify` measures errors. `at` is where the
    largest is: an index for each of `axes`, heads and positions by the left one's numbers. `unlike`
    counts the numbers that are finite in one only, or not finite in different ways; the others are
    measured. For `visible` a difference is 1, the mean a share of all cells.
    `verdict` is `equal` where not one number differs, `rounding` where `relative` is an error that
    `verify` calls normal for float32, else `different`.
    """

    stack: str
    kind: str
    layer: int
    step: int
    array: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    provenance: str
    largest: float
    mean: float
    relative: float
    at: tuple[int, ...]
    unlike: int
    verdict: str


class Cell(NamedTuple):
    """One number (head, query, key) of an array, left and right; positions are the left one's."""

    stack: str
    kind: str
    layer: int
    array: str
    head: int
    query: int
    key: int
    left: float
    right: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What two passes have in common, and how it differs.

    `verdict` is the worst of all `layers` (see `Difference`). `longer`: one prompt is the beginning
    of the other, and nothing else differs. `every`: what was compared is all that both have, not
    what was chosen of it. `cells` are those that changed most, most first. `left_out` names arrays
    that only one has, or that have different shapes.
    """

    right: Side
    alignment: tuple[Alignment, ...]
    verdict: str
    longer: bool
    every: bool
    layers: tuple[Difference, ...]
    cells: tuple[Cell, ...]
    prediction: tuple[Predicted, ...]
    left_out: tuple[str, ...]


def compare(left: Question, right: Question, *, top: int = 5, max_memory: int = 0) -> Comparison:
    """Compares the answers to two questions (see `session.ask`).

    Both passes go side by side, and no block is kept. Blocks are compared where both questions have
    one of a layer, rows and columns where the prompts can be aligned, arrays where their shapes are
    the same. Raises UsageError where nothing can be compared, and ContentError where there is no
    room for it.
    """
    found, _ = session.finished(compare_steps(left, right, top=top, max_memory=max_memory))
    return found


def compare_steps(
    left: Question, right: Question, *, top: int = 5, max_memory: int = 0
) -> Generator[Passed, None, tuple[Comparison, tuple[Note, ...]]]:
    """`compare`, which yields each layer that is done; returns also what is to be noted."""
    shared, found = _Shared(left, right), _Found()
    steps = beside(*shared.narrowed(), max_memory)
    traces = yield from session.taking(steps, lambda pair: found.add(*pair))
    models = left.model, right.model
    predicted = tuple(predictions(models, traces, shared.alignments, shared.ids, top))
    if not found.layers and not predicted:
        raise UsageError(
            f"{left.model.facts.name} and {right.model.facts.name} have nothing that can be "
            "compared here: no array of the same shape, and no prediction",
            "compare models of the same sizes, or prompts with tokens in common",
        )
    comparison = Comparison(
        right=Side(right.model.facts, right.prompt, right.settings),
        alignment=tuple(shared.alignments.values()),
        verdict=max((one.verdict for one in found.layers), key=VERDICTS.index, default=EQUAL),
        longer=_is_longer(left, right),
        every=_is_all(left),
        layers=tuple(found.layers),
        cells=tuple(found.cells),
        prediction=predicted,
        left_out=tuple(name for name in vocabulary.ARRAYS if name in found.left_out),
    )
    return comparison, _notes(shared, comparison.left_out, traces)


# --- what both have ------------------------------------------------------------------------------


class _Shared:
    """What of two questions can be compared."""

    def __init__(self, left: Question, right: Question) -> None:
        self.questions, self.ids = (left, right), partners(left.model, right.model)
        self.places = _places(left, right)
        pairs = [zip(_stacks(own), _stacks(other), strict=True) for own, other in self.places]
        stacks = dict(sorted(chain(*pairs), key=lambda pair: vocabulary.STACKS.index(pair[0])))
        self.alignments = {
            own: alignment(own, left.prompt.of(own), right.prompt.of(other), self.ids)
            for own, other in stacks.items()
        }

    def narrowed(self) -> tuple[Question, Question]:
        """The questions with the blocks and the positions that both have."""
        blocks: tuple[set[Address], set[Address]] = set(), set()
        positions: tuple[dict, dict] = {}, {}
        for places in self.places:
            layers = [
                {block.layer for block in asked.blocks if block[:2] == place}
                for asked, place in zip(self.questions, places, strict=True)
            ]
            chosen = self._positions(places[0])
            for side, place in enumerate(places):
                if all(chosen[side]):
                    blocks[side].update(Address(*place, layer) for layer in layers[0] & layers[1])
                    sides = self.questions[side].prompt.sides(*place)
                    positions[side][place] = tuple(map(_unless_all, chosen[side], sides))
        return tuple(
            asked._replace(
                blocks=tuple(block for block in asked.blocks if block in own),
                request=replace(asked.request, blocks=frozenset(own), positions=at),
            )
            for asked, own, at in zip(self.questions, blocks, positions, strict=True)
        )  # fmt: skip

    def _positions(self, place: Place) -> tuple[tuple, tuple]:
        """Queries and keys of the left block, and those of the right one, that are aligned."""
        left, _ = self.questions
        given = left.request.positions.get(place, (None, None))
        found = []
        for stack, chosen in zip(_stacks(place), given, strict=True):
            pairs = dict(zip(*self.alignments[stack][1:3], strict=True))
            own = tuple(pairs) if chosen is None else tuple(at for at in chosen if at in pairs)
            if chosen is not None and not own:
                raise UsageError(
                    "the chosen tokens have none in the other prompt to be compared with",
                    "without --query and --key, all that can be compared are",
                )
            found.append((own, tuple(pairs[at] for at in own)))
        return tuple(zip(*found, strict=True))


def _stacks(place: Place) -> tuple[str, str]:
    """The stacks that queries and keys are made from."""
    return place[0], Address(*place, 0).key_stack


def _unless_all(chosen: tuple[int, ...], of: Prompt) -> tuple[int, ...] | None:
    return None if chosen == tuple(range(len(of.tokens))) else chosen


def _places(left: Question, right: Question) -> list[tuple[Place, Place]]:
    """The attentions of two questions that are each other's: those of the same stack and kind, or
    the only one of each, if both are of the same kind."""
    own, other = (list(dict.fromkeys(b[:2] for b in asked.blocks)) for asked in (left, right))
    if len(own) == len(other) == 1 and own[0][1] == other[0][1]:
        return [(own[0], other[0])]
    return [(place, place) for place in own if place in other]


def _is_longer(left: Question, right: Question) -> bool:
    first, second = (asked.prompt for asked in (left, right))
    shorter, longer = sorted((first.last.ids, second.last.ids), key=len)
    begins = len(shorter) < len(longer) and longer[: len(shorter)] == shorter
    source = not first.target or first.ids == second.ids
    changes = any(vocabulary.changes(asked.settings) for asked in (left, right))
    return begins and source and left.model is right.model and not changes


def _is_all(asked: Question) -> bool:
    """Whether all blocks, heads, positions and steps of a model are asked for."""
    facts, request = asked.model.facts, asked.request
    places = [(*place, layer) for place in facts.attentions
              for layer in facts.attending(place[0])]  # fmt: skip
    heads = all(len(chosen) == facts.heads_of(stack) for stack, chosen in request.heads.items())
    positions = any(at is not None for chosen in request.positions.values() for at in chosen)
    steps = {vocabulary.ARRAYS[name].step for name in request.arrays}
    return {*asked.blocks} == {*places} and heads and not positions and steps >= {*range(1, 7)}


# --- blocks --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Found:
    """What is known of the blocks that have been compared."""

    layers: list[Difference] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)

    def add(self, left: Attention, right: Attention) -> None:
        """Compares two blocks."""
        both = [name for name in left.arrays if name in right.arrays]
        same = [name for name in both if left.arrays[name].shape == right.arrays[name].shape]
        self.left_out |= (left.arrays.keys() | right.arrays.keys()) - set(same)
        of_cells = next((name for name in _OF_CELLS if name in same), "")
        for name in same:
            gaps = _gaps(left.arrays[name], right.arrays[name], _SHOWN if name == of_cells else 0)
            self.layers.append(_difference(name, left, right, gaps))
            self.cells += _cells(name, left, right, gaps) if name == of_cells else []
        self.cells.sort(key=lambda cell: -abs(cell.left - cell.right))
        del self.cells[_SHOWN:]


class _Gaps(NamedTuple):
    """The differences of two arrays, or of some of their rows: see `Difference`; `total` is the sum
    of the `measured` ones, `place` and `most` are indices of the flat array: of the largest, and
    with their sizes, negative, of several of the largest, largest first."""

    largest: float = 0.0
    place: int = 0
    relative: float = 0.0
    unlike: int = 0
    total: float = 0.0
    measured: int = 0
    most: tuple[tuple[float, int], ...] = ()


def _gaps(left: np.ndarray, right: np.ndarray, count: int) -> _Gaps:
    """The differences of two arrays, with so many of the largest."""
    flat = [array.reshape(-1, array.shape[-1]) for array in (left, right)]
    width = left.shape[-1]
    starts = range(0, len(flat[0]), max(1, _BLOCK // width))
    parts: list[_Gaps] = [_Gaps()] * len(starts)

    def work(number: int) -> None:
        rows = slice(starts[number], starts[number] + starts.step)
        parts[number] = _of_rows(*(array[rows] for array in flat), starts[number] * width, count)

    cores.each(work, range(len(starts)))
    worst = max(parts, key=lambda part: part.largest)
    most = sorted(found for part in parts for found in part.most)
    return worst._replace(
        relative=max(part.relative for part in parts), unlike=sum(part.unlike for part in parts),
        total=sum(part.total for part in parts), measured=sum(part.measured for part in parts),
        most=tuple(most[:count]),
    )  # fmt: skip


def _of_rows(left: np.ndarray, right: np.ndarray, first: int, count: int) -> _Gaps:
    """The differences of some rows, of which the first number stands at place `first`."""
    if np.array_equal(left, right) and np.isfinite(left).all():
        return _Gaps(measured=left.size)
    finite, unlike = np.isfinite(left) & np.isfinite(right), 0
    if not finite.all():
        alike = (left == right) | (np.isnan(left) & np.isnan(right))
        unlike = int((~finite & ~alike).sum())
        left, right = np.where(finite, left, 0), np.where(finite, right, 0)
    gap, size = row_gaps(right, left)
    relative = float((gap.max(axis=-1) / size).max())
    gap = gap.ravel()
    place, most = int(gap.argmax()), ()
    if count and gap[place]:
        found = likeliest(gap, count)
        most = zip((-gap[found]).tolist(), (first + found).tolist(), strict=True)
    return _Gaps(
        float(gap[place]), first + place, relative, unlike, float(gap.sum()), int(finite.sum()),
        tuple(pair for pair in most if pair[0]),
    )  # fmt: skip


def _difference(name: str, left: Attention, right: Attention, gaps: _Gaps) -> Difference:
    spec, shape = vocabulary.ARRAYS[name], left.arrays[name].shape
    what_if = name in left.what_if | right.what_if
    return Difference(
        **left.address._asdict(), step=spec.step, array=name, axes=spec.axes, shape=shape,
        provenance=vocabulary.WHAT_IF if what_if else vocabulary.DERIVED,
        largest=gaps.largest, relative=gaps.relative,
        mean=gaps.total / gaps.measured if gaps.measured else float("nan"),
        at=_numbered(left, name, gaps.place), unlike=gaps.unlike, verdict=_verdict(gaps),
    )  # fmt: skip


def _numbered(block: Attention, name: str, place: int) -> tuple[int, ...]:
    """A place of a flat array as an index for each axis, with the numbers that the block gives."""
    numbers = {"head": block.heads, "kv_head": block.kv_heads, "query": block.queries,
               "key": block.keys}  # fmt: skip
    places = np.unravel_index(place, block.arrays[name].shape)
    axes = vocabulary.ARRAYS[name].axes
    return tuple(
        numbers[axis][at] if axis in numbers else int(at)
        for axis, at in zip(axes, places, strict=True)
    )


def _cells(name: str, left: Attention, right: Attention, gaps: _Gaps) -> Iterator[Cell]:
    of = left.arrays[name].ravel(), right.arrays[name].ravel()
    for _, place in gaps.most:
        values = (float(array[place]) for array in of)
        yield Cell(*left.address, name, *_numbered(left, name, place), *values)


def _verdict(gaps: _Gaps) -> str:
    if gaps.unlike or gaps.relative >= NORMAL:
        return DIFFERENT
    return ROUNDING if gaps.largest else EQUAL


# --- what is to be noted -------------------------------------------------------------------------


def _notes(
    shared: _Shared, left_out: tuple[str, ...], traces: tuple[Trace, Trace]
) -> tuple[Note, ...]:
    """What both passes say, each remark once, and what could not be compared."""
    left, right = (asked.model.facts for asked in shared.questions)
    names = {"left": left.name, "right": right.name}
    said = [remark for trace in traces for remark in trace.notes]
    for (stack, _), (other, _) in shared.places[:1]:
        counts = left.layers_of(stack), right.layers_of(other)
        if counts[0] != counts[1]:
            more = {"of_left": counts[0], "of_right": counts[1], "first": min(counts)}
            said.append(note("compare.note_layers", **names, **more))
    if left_out:
        said.append(note("compare.note_arrays", arrays=", ".join(left_out)))
    if shared.ids is not None:
        said.append(note("compare.note_vocabulary", **names))
    return tuple({str(remark): remark for remark in said}.values())

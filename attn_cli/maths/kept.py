"""What is kept of arrays (head, query, key), which are computed block by block and never whole.

Axes, as suffixes: G kv_head, J head of a group, Q query, K key.
"""

import math
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from attn_cli.maths.masks import block_of

# Threads wait for each other at every step of a part: it has as many cells as are worth a thread,
# and more where there would be many parts, as far as a core's own cache holds them.
_FEWEST, _MOST, _PARTS = 1 << 16, 1 << 18, 12
BEFORE_SUM = ("scores", "scaled", "masked", "weights")
# A number for each query of weights (…, query, key), given the positions of both and the lengths
# (…, 1, key) that values have (see `Keep`), of size 0 where they are not known.
Measure = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
_UNKNOWN = np.zeros(0, np.float32)


class Keep(NamedTuple):
    """What to keep: the arrays of these names, and of them these heads, queries and keys (None:
    all), counted from the first that is computed. `measures` are taken of all weights, which then
    need not be kept; `lengths` (head, key) is how long each value is where it ends, after the
    output projection. Arrays are made by `zeros`, and what no query sees of the weights stays as it
    was made.
    """

    names: Collection[str] = BEFORE_SUM
    heads: tuple[int, ...] | None = None
    queries: tuple[int, ...] | None = None
    keys: tuple[int, ...] | None = None
    measures: Mapping[str, Measure] = MappingProxyType({})
    lengths: np.ndarray = _UNKNOWN
    zeros: Callable[..., np.ndarray] = np.zeros


EVERYTHING = Keep()


class Part(NamedTuple):
    """Heads that are computed together: some kv_heads, some of the heads of each."""

    groups: slice
    heads: slice


def parts_of(shape: tuple[int, ...]) -> list[Part]:
    """The heads of (…, kv_head, head of the group, query, key) in parts, as a block of queries
    has them."""
    *batch, groups, group, queries, keys = shape
    of_head = max(1, math.prod(batch) * min(queries, block_of(queries)) * keys)
    cells = min(max(_FEWEST, math.prod(shape) // _PARTS), _MOST)
    together = max(1, cells // of_head)
    some_groups, some_heads = max(1, together // group), min(together, group)
    return [
        Part(slice(g, min(g + some_groups, groups)), slice(j, min(j + some_heads, group)))
        for g in range(0, groups, some_groups)
        for j in range(0, group, some_heads)
    ]


def of_part(array_HQK: np.ndarray, part: Part, grouped: tuple[int, ...]) -> np.ndarray:
    """A part's heads of an array (…, head, query, key); size 0 stays so.

    `grouped` is the shape of the queries, (…, kv_head, head of the group, query, width).
    """
    if not array_HQK.size:
        return array_HQK
    *batch, _, queries, keys = array_HQK.shape
    split = array_HQK.reshape(*batch, *grouped[-4:-2], queries, keys)
    return split[..., part.groups, part.heads, :, :]


class Kept:
    """The arrays that a `Keep` asks for, filled from blocks.

    `shape` is that of the whole, (…, kv_head, head of the group, query, key); the arrays have heads
    on one axis, (…, head, query, key), and measures (…, head, query). `masked` is `hidden` where no
    block comes.
    """

    def __init__(
        self,
        keep: Keep,
        names: Collection[str],
        shape: tuple[int, ...],
        dtype: np.dtype,
        *,
        hidden: float,
    ) -> None:
        *batch, groups, group, queries, keys = shape
        self._keep, self._group = keep, group
        chosen = keep.heads, keep.queries, keep.keys
        self._part_only = any(positions is not None for positions in chosen)
        self._chosen = [
            np.arange(count) if positions is None else np.array(positions, np.intp)
            for positions, count in zip(chosen, (groups * group, queries, keys), strict=True)
        ]
        shape_kept = (*batch, *map(len, self._chosen))
        self.arrays = {
            name: (keep.zeros if name == "weights" else np.empty)(shape_kept, dtype)
            for name in names
            if name in keep.names
        }
        if "masked" in self.arrays:
            self.arrays["masked"].fill(hidden)
        self.measures = {
            name: np.zeros((*batch, groups * group, queries)) for name in keep.measures
        }
        self._grouped = {} if self._part_only else {
            name: array.reshape(shape) for name, array in self.arrays.items()
        }  # fmt: skip

    def wants(self, *names: str) -> bool:
        """Whether any of these arrays is kept."""
        return not self.arrays.keys().isdisjoint(names)

    def place(
        self, name: str, part: Part, queries: slice, keys: slice, otherwise: np.ndarray
    ) -> np.ndarray:
        """Where a block of an array may be made: in the array, if all of it is kept."""
        fits = otherwise.shape[-1] == keys.stop - keys.start  # which has no column for a sink
        if self._part_only or not fits or name not in self.arrays:
            return otherwise
        return self._grouped[name][..., part.groups, part.heads, queries, keys]

    def put(
        self, name: str, block_GJQK: np.ndarray, part: Part, queries: slice, keys: slice
    ) -> None:
        """A block of an array, if it is kept: these heads, queries and keys."""
        if name not in self.arrays:
            return
        if not self._part_only:
            self._grouped[name][..., part.groups, part.heads, queries, keys] = block_GJQK
            return
        of_heads, of_queries, of_keys = self._chosen
        rows, row_places = _inside(of_queries, queries)
        columns, column_places = _inside(of_keys, keys)
        if not rows.size or not columns.size:
            return
        here = _heads_of(part, self._group)
        for place, head in enumerate(of_heads.tolist()):
            group, within = divmod(head, self._group)
            at = group - part.groups.start, within - part.heads.start
            if head in here:
                chosen = block_GJQK[..., *at, :, :][..., rows[:, None], columns]
                self.arrays[name][..., place, row_places[:, None], column_places] = chosen

    def measure(
        self, block_GJQK: np.ndarray, part: Part, rows: slice, at_Q: np.ndarray, at_K: np.ndarray
    ) -> None:
        """Takes the measures of a block of weights; keys outside of it have no share."""
        lengths = self._keep.lengths
        if lengths.size:
            lengths = lengths.reshape(-1, self._group, lengths.shape[-1])
            lengths = lengths[part.groups, part.heads, None, at_K[0] : at_K[-1] + 1]
        for name, measure in self._keep.measures.items():
            array = self.measures[name]
            *batch, heads, count = array.shape
            array = array.reshape(*batch, heads // self._group, self._group, count)
            array[..., part.groups, part.heads, rows] = measure(block_GJQK, at_Q, at_K, lengths)


def _heads_of(part: Part, group: int) -> set[int]:
    """The numbers of a part's heads, where each kv_head has `group` of them."""
    groups, heads = (range(s.start, s.stop) for s in part)
    return {g * group + j for g in groups for j in heads}


def _inside(chosen: np.ndarray, block: slice) -> tuple[np.ndarray, np.ndarray]:
    """Of the chosen positions those in a block: where in the block, and where among the chosen."""
    places = np.flatnonzero((chosen >= block.start) & (chosen < block.stop))
    return chosen[places] - block.start, places

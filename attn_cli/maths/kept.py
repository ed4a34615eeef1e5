"""What is kept of arrays (head, query, key), which are computed block by block and never whole.

Axes, as suffixes: G kv_head, J head of a group, Q query, K key.
"""

import math
import mmap
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from attn_cli.maths import cores
from attn_cli.maths.masks import Look, block_of

# Threads wait for each other at every step of a part: it has as many cells as are worth a thread,
# and more where there would be many parts, as far as a core's own cache holds them, and the waiting
# of so many threads takes no longer.
_FEWEST, _MOST, _PARTS, _THREADS = 1 << 17, 1 << 18, 12, 4
_ATTENDING, _STEPS = 6e-9, 15  # seconds for a cell, and in how many steps
BEFORE_SUM = ("scores", "scaled", "masked", "weights")
# A number for each query of weights (…, query, key), given the positions of both and the lengths
# (…, 1, key) that values have (see `Keep`), of size 0 where they are not known.
Measure = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
_UNKNOWN = np.zeros(0, np.float32)
# Bytes from which weights may be kept in blocks, and from which these have pages of their own.
APART, _OWN = 1 << 18, 1 << 20


class Keep(NamedTuple):
    """What to keep: the arrays of these names, and of them these heads, queries and keys (None:
    all), counted from the first that is computed. `measures` are taken of all weights, which then
    need not be kept; `lengths` (head, key) is how long each value is where it ends, after the
    output projection. `apart`: large weights may be `Blocks`.
    """

    names: Collection[str] = BEFORE_SUM
    heads: tuple[int, ...] | None = None
    queries: tuple[int, ...] | None = None
    keys: tuple[int, ...] | None = None
    measures: Mapping[str, Measure] = MappingProxyType({})
    lengths: np.ndarray = _UNKNOWN
    apart: bool = False


EVERYTHING = Keep()


class Part(NamedTuple):
    """Heads that are computed together: some kv_heads, some of the heads of each."""

    groups: slice
    heads: slice


@lru_cache
def parts_of(shape: tuple[int, ...], threads: int) -> list[Part]:
    """The heads of (…, kv_head, head of the group, query, key) in parts, as a block of queries
    has them."""
    *batch, groups, group, queries, keys = shape
    of_head = max(1, math.prod(batch) * min(queries, block_of(queries)) * keys)
    most = _MOST * max(1, threads // _THREADS)
    cells = min(max(_FEWEST, math.prod(shape) // _PARTS), most)
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


class Blocks:
    """An array (…, head, query, key) of which only blocks of queries are there, each with the keys
    from its first visible one to its last: elsewhere it is 0. Half of a causal one takes no memory.

    `looks` say where the blocks stand; `shape` is (…, kv_head, head of the group, query, key).
    `finite`: every number is known to be.
    """

    def __init__(self, looks: Sequence[Look], shape: tuple[int, ...], dtype: np.dtype) -> None:
        *before, _, _ = shape
        *batch, groups, group = before
        self.shape, self.dtype = (*batch, groups * group, *shape[-2:]), dtype
        self.size, self.finite = math.prod(shape), False
        sizes = [(at.queries.stop - at.queries.start, at.keys.stop - at.keys.start) for at in looks]
        ends = list(accumulate(math.prod((*before, *size)) for size in sizes))
        # One piece of memory is asked for and given back, rather than many.
        numbers = _memory(ends[-1] if ends else 0, dtype)
        self._looks = {look.queries.start: look for look in looks}
        self._blocks = {
            look.queries.start: numbers[start:end].reshape(*before, *size)
            for look, start, end, size in zip(looks, [0, *ends][:-1], ends, sizes, strict=True)
        }
        self._whole: Callable[[], np.ndarray | None] = lambda: None

    @property
    def nbytes(self) -> int:
        """The bytes that the blocks take."""
        return sum(block.nbytes for block in self._blocks.values())

    def of(self, part: Part, queries: slice) -> np.ndarray:
        """Where a part's block of these queries is."""
        return self._blocks[queries.start][..., part.groups, part.heads, :, :]

    def whole(self) -> np.ndarray:
        """The array, read-only, which is made anew unless one is still in use."""
        array = self._whole()
        if array is None:
            array = np.zeros(self.shape, self.dtype)
            for start, block in self._blocks.items():
                at = self._looks[start]
                rows = block.reshape(*self.shape[:-2], *block.shape[-2:])
                array[..., at.queries, at.keys] = rows
            array.flags.writeable = False
            self._whole = weakref.ref(array)
        return array


class Arrays(Mapping[str, np.ndarray]):
    """Arrays by their names; one that is `kept` in blocks becomes whole when it is asked for."""

    def __init__(self, kept: Mapping[str, np.ndarray | Blocks]) -> None:
        self.kept = kept

    def __getitem__(self, name: str) -> np.ndarray:
        found = self.kept[name]
        return found.whole() if isinstance(found, Blocks) else found

    def __contains__(self, name: object) -> bool:
        return name in self.kept

    def __iter__(self) -> Iterator[str]:
        return iter(self.kept)

    def __len__(self) -> int:
        return len(self.kept)

    def having(self, name: str, array: np.ndarray) -> "Arrays":
        """These, and one more."""
        return Arrays({**self.kept, name: array})


class Kept:
    """The arrays that a `Keep` asks for, filled from blocks.

    `shape` is that of the whole, (…, kv_head, head of the group, query, key), whose queries look at
    `looks`; the arrays have heads on one axis, (…, head, query, key), and measures (…, head,
    query). `masked` is `hidden` where no block comes. `parts` are the heads of a block of queries,
    and `threads` as many as their work is worth.
    """

    def __init__(
        self,
        keep: Keep,
        names: Collection[str],
        shape: tuple[int, ...],
        dtype: np.dtype,
        looks: Sequence[Look],
        *,
        hidden: float,
    ) -> None:
        *batch, groups, group, queries, keys = shape
        self._keep, self._group, self.parts = keep, group, parts_of(shape, cores.threads())
        cells = math.prod(shape[:-2]) * sum(look.cells for look in looks)
        self.threads = cores.worth(_ATTENDING * cells, _STEPS)
        chosen, counts = (keep.heads, keep.queries, keep.keys), (groups * group, queries, keys)
        self._part_only = any(positions is not None for positions in chosen)
        if self._part_only:
            self._chosen = [
                np.arange(count) if positions is None else np.array(positions, np.intp)
                for positions, count in zip(chosen, counts, strict=True)
            ]
            counts = tuple(map(len, self._chosen))
        shape_kept = (*batch, *counts)
        size = math.prod(shape_kept) * dtype.itemsize
        apart = keep.apart and size >= APART and not self._part_only and hidden == -np.inf
        self.blocks = Blocks(looks, shape, dtype) if apart and "weights" in keep.names else None
        self.arrays = {
            name: (np.zeros if name == "weights" else np.empty)(shape_kept, dtype)
            for name in names
            if name in keep.names and not (name == "weights" and self.blocks)
        }
        if "masked" in self.arrays:
            self.arrays["masked"].fill(hidden)
        self.measures = {
            name: np.zeros((*batch, groups * group, queries)) for name in keep.measures
        }
        self._grouped = {} if self._part_only else {
            name: array.reshape(shape) for name, array in self.arrays.items()
        }  # fmt: skip

    def all(self, sums: np.ndarray) -> dict[str, np.ndarray | Blocks]:
        """What was kept, by its name, once the `sums` of the values are there too."""
        if not self.blocks:
            return dict(self.arrays)
        self.blocks.finite = bool(np.isfinite(sums).all())  # a NaN among a row's weights is in both
        return {**self.arrays, "weights": self.blocks}

    def wants(self, *names: str) -> bool:
        """Whether any of these arrays is kept."""
        return not self.arrays.keys().isdisjoint(names)

    def place(
        self, name: str, part: Part, queries: slice, keys: slice, otherwise: np.ndarray
    ) -> np.ndarray:
        """Where a block of an array may be made: in the array, if all of it is kept."""
        fits = otherwise.shape[-1] == keys.stop - keys.start  # which has no column for a sink
        if fits and name == "weights" and self.blocks:
            return self.blocks.of(part, queries)
        if self._part_only or not fits or name not in self.arrays:
            return otherwise
        return self._grouped[name][..., part.groups, part.heads, queries, keys]

    def put(
        self, name: str, block_GJQK: np.ndarray, part: Part, queries: slice, keys: slice
    ) -> None:
        """A block of an array, if it is kept: these heads, queries and keys."""
        if name == "weights" and self.blocks:
            self.blocks.of(part, queries)[...] = block_GJQK
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


def _memory(count: int, dtype: np.dtype) -> np.ndarray:
    """So many numbers of any value, in pages of the usual size: to clear huge ones takes longer."""
    if count * dtype.itemsize < _OWN or not hasattr(mmap, "MADV_NOHUGEPAGE"):
        return np.empty(count, dtype)
    pages = mmap.mmap(-1, count * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    pages.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(pages, dtype)


def _heads_of(part: Part, group: int) -> set[int]:
    """The numbers of a part's heads, where each kv_head has `group` of them."""
    groups, heads = (range(s.start, s.stop) for s in part)
    return {g * group + j for g in groups for j in heads}


def _inside(chosen: np.ndarray, block: slice) -> tuple[np.ndarray, np.ndarray]:
    """Of the chosen positions those in a block: where in the block, and where among the chosen."""
    places = np.flatnonzero((chosen >= block.start) & (chosen < block.stop))
    return chosen[places] - block.start, places

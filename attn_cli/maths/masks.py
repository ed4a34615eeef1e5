"""Masks: boolean (query, key) arrays, true = this query may look at this key.

Every mask is a function of positions, so that a part of it can be had without the whole. Axes as
suffixes: Q query position, K key position.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from attn_cli.maths import cores

BLOCK = 128  # queries that are computed together, at most
_KEYS = 4096
# Which of these queries may look at which of these keys.
Visible = Callable[[np.ndarray, np.ndarray], np.ndarray]


def distance(queries_Q: np.ndarray, keys_K: np.ndarray) -> np.ndarray:
    """q − k for every pair, (query, key): positive = the key comes earlier."""
    return queries_Q[:, None] - keys_K[None, :]


def none(queries_Q: np.ndarray, keys_K: np.ndarray) -> np.ndarray:
    """Every query sees every key."""
    return np.ones((len(queries_Q), len(keys_K)), dtype=bool)


def causal(queries_Q: np.ndarray, keys_K: np.ndarray) -> np.ndarray:
    """k ≤ q: no query sees a later key."""
    return distance(queries_Q, keys_K) >= 0


def window(
    queries_Q: np.ndarray, keys_K: np.ndarray, width: int, *, both_sides: bool = False
) -> np.ndarray:
    """0 ≤ q − k < width (decoders), or |q − k| < width (encoders: `both_sides`)."""
    apart = distance(queries_Q, keys_K)
    return np.abs(apart) < width if both_sides else (apart >= 0) & (apart < width)


def prefix(queries_Q: np.ndarray, keys_K: np.ndarray, length: int) -> np.ndarray:
    """Causal, and the first `length` keys visible to every query."""
    return causal(queries_Q, keys_K) | (keys_K < length)[None, :]


def padding(
    queries_Q: np.ndarray, keys_K: np.ndarray, first: int, end: float = math.inf
) -> np.ndarray:
    """The keys from position `first` on, up to `end`, are hidden from everyone."""
    return none(queries_Q, keys_K) & ((keys_K < first) | (keys_K >= end))[None, :]


def padding_left(queries_Q: np.ndarray, keys_K: np.ndarray, count: int) -> np.ndarray:
    """The first `count` keys are hidden from everyone."""
    return none(queries_Q, keys_K) & (keys_K >= count)[None, :]


def sinks(
    queries_Q: np.ndarray, keys_K: np.ndarray, count: int, *, both_sides: bool = False
) -> np.ndarray:
    """The first `count` keys, which a query may see although its window is past them.

    A decoder's query sees no later key there either. Xiao et al. 2023, "StreamingLLM".
    """
    earlier = none(queries_Q, keys_K) if both_sides else causal(queries_Q, keys_K)
    return earlier & (keys_K < count)[None, :]


def block(queries_Q: np.ndarray, keys_K: np.ndarray, query: int, key: int) -> np.ndarray:
    """This query may not see this key."""
    return ~((queries_Q == query)[:, None] & (keys_K == key)[None, :])


def square(visible: Visible, positions: int) -> np.ndarray:
    """The whole (query, key) array of a mask over the first `positions` positions."""
    return visible(np.arange(positions), np.arange(positions))


def block_of(queries: int) -> int:
    """How many queries are computed together: fewer of a short text, for the other threads."""
    return BLOCK if queries > 2 * BLOCK else BLOCK // 2


class Look(NamedTuple):
    """Where a block of queries looks.

    `keys` are those from the first to the last that any of the queries sees; `visible` (query, key)
    says of those among them that are `mixed`, not seen by all, who sees which.
    """

    queries: slice
    keys: slice
    mixed: slice
    visible: np.ndarray

    @property
    def cells(self) -> int:
        """How many pairs of a query and a key are looked at."""
        return (self.queries.stop - self.queries.start) * (self.keys.stop - self.keys.start)


def looks(
    visible: Visible, start: int, queries: int, keys: int, block: int = 0
) -> tuple[Look, ...]:
    """Where each `block` of queries looks (0: `block_of` them); the first query is at `start`.

    Asked block by block, and of a few thousand keys at a time, so that no square is ever there.
    """
    found: dict[int, Look] = {}

    def work(rows: slice) -> None:
        at_Q = np.arange(start + rows.start, start + rows.stop)
        parts = [
            visible(at_Q, np.arange(at, min(at + _KEYS, keys))) for at in range(0, keys, _KEYS)
        ]
        visible_QK = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        seen = _span(visible_QK.any(axis=0))
        mixed = _span(~visible_QK[:, seen].all(axis=0), seen.start)
        found[rows.start] = Look(rows, seen, mixed, visible_QK[:, mixed].copy())

    cores.spread(work, queries, block or block_of(queries))
    return tuple(found[at] for at in sorted(found))


def blind(at: Iterable[Look]) -> Iterator[int]:
    """The queries that see no key, counted from the first."""
    for look in at:
        seen_by_all = look.keys.stop - look.keys.start > look.mixed.stop - look.mixed.start
        for row, sees in enumerate(look.visible.any(axis=1) | seen_by_all):
            if not sees:
                yield look.queries.start + row


class Reach(NamedTuple):
    """How far queries see: how many `cells` of (query, key) are seen, and how many positions the
    farthest seen key stands `before` its query, or `after` it (0 where none does)."""

    cells: int
    before: int
    after: int

    def fills(self, positions: int, before: int, after: int) -> bool:
        """Whether each of so many positions sees just the keys that are so near."""
        inside = self.before <= before and self.after <= after
        away = (far * positions - far * (far + 1) // 2 for far in (before, after))
        return inside and self.cells == positions + sum(away)


def reach(at: Iterable[Look], start: int = 0) -> Reach:
    """How far a mask of these looks reaches; the first query is at position `start`."""
    cells = before = after = 0
    for rows, keys, mixed, visible_QK in at:
        first, last = start + rows.start, start + rows.stop - 1
        cells += int(np.count_nonzero(visible_QK))
        for seen in (slice(keys.start, mixed.start), slice(mixed.stop, keys.stop)):  # by all
            if seen.stop > seen.start:
                cells += (last - first + 1) * (seen.stop - seen.start)
                before, after = max(before, last - seen.start), max(after, seen.stop - 1 - first)
        some = np.flatnonzero(visible_QK.any(axis=1))
        if some.size:
            earliest = mixed.start + visible_QK[some].argmax(axis=1)
            latest = mixed.stop - 1 - visible_QK[some, ::-1].argmax(axis=1)
            before = max(before, int((first + some - earliest).max()))
            after = max(after, int((latest - first - some).max()))
    return Reach(int(cells), int(before), int(after))


def same(one: Sequence[Look], other: Sequence[Look]) -> bool:
    """Whether two masks of the same queries and keys let every query see the same keys."""
    pairs = zip(one, other, strict=True)
    return all(a[:3] == b[:3] and np.array_equal(a.visible, b.visible) for a, b in pairs)


def hides(at: Iterable[Look], keys: int) -> bool:
    """Whether a mask hides one of the `keys` from a query."""
    return any(look.mixed.stop > look.mixed.start or look.keys != slice(0, keys) for look in at)


def _span(true_K: np.ndarray, start: int = 0) -> slice:
    """From the first true one to the last, counted from `start`; empty if there is none."""
    places = np.flatnonzero(true_K)
    return slice(start + places[0], start + places[-1] + 1) if places.size else slice(start, start)

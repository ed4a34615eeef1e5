"""Which tokens a head joins: how often a query's token and that of the key it weighs most meet.

The first key of all is left out, to which many heads give what they have no use for. Counts are
exact. Where there would be more than `MOST` pairs only tokens whose ids are `below` a power of two
are counted, the same whatever the order: with fewer tokens it would have been the same or a larger
one, which counts these too.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

MOST = 1 << 21
_ALL = 1 << 31


class Joined(NamedTuple):
    """A pair of tokens' ids, and of how many queries."""

    query: int
    key: int
    count: int


class Pairs:
    """The pairs of so many heads: (head, query, key) as one number each, in order, and counts."""

    def __init__(self, most: int = MOST) -> None:
        self._most, self.below = most, _ALL
        self._rows, self._counts = np.zeros((0, 3), np.int32), np.zeros(0, np.int64)
        self._held: list[np.ndarray] = []

    @property
    def bound(self) -> int:
        """What the ids of all tokens that are counted are below; 0 where every one is."""
        self._settle()
        return 0 if self.below == _ALL else self.below

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """All that is known, by name; equal pairs have equal bytes."""
        self._settle()
        return {
            "rows": self._rows,
            "counts": self._counts,
            "below": np.array([self.below], np.int64),
        }

    def take(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes in what `arrays` of others has given."""
        self._settle()
        self.below = min(self.below, int(arrays["below"][0]))
        rows = np.concatenate([self._rows, arrays["rows"]])
        self._join(rows, np.concatenate([self._counts, arrays["counts"]]))

    def add(
        self, heads: np.ndarray, ids_Q: np.ndarray, ids_K: np.ndarray, keys_HQ: np.ndarray
    ) -> None:
        """Counts the pairs of a prompt: of each head and query the key of this position."""
        at_H, at_Q = np.nonzero(keys_HQ > 0)
        found = np.empty((at_H.size, 3), np.int32)
        found[:, 0] = heads[at_H]
        found[:, 1] = ids_Q[at_Q]
        found[:, 2] = ids_K[keys_HQ[at_H, at_Q]]
        self._held.append(found)
        if sum(map(len, self._held)) > self._most:
            self._settle()

    def _settle(self) -> None:
        if self._held:
            new = np.concatenate(self._held)
            self._held = []
            counts = np.concatenate([self._counts, np.ones(len(new), np.int64)])
            self._join(np.concatenate([self._rows, new]), counts)

    def _join(self, rows: np.ndarray, counts: np.ndarray) -> None:
        rows, counts = self._fitting(rows, counts)
        if len(rows):
            order = np.lexsort(rows.T[::-1])
            rows, counts = rows[order], counts[order]
            new = np.concatenate([[True], (rows[1:] != rows[:-1]).any(-1)])
            rows, counts = rows[new], np.add.reduceat(counts, np.flatnonzero(new))
        while len(rows) > self._most:
            largest = int(rows[:, 1:].max())
            self.below = 1 << (largest.bit_length() - 1)
            rows, counts = self._fitting(rows, counts)
        self._rows, self._counts = rows, counts

    def _fitting(self, rows: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        kept = (rows[:, 1:] < self.below).all(-1)
        return (rows, counts) if kept.all() else (rows[kept], counts[kept])

    def of(self, head: int, most: int) -> tuple[Joined, ...]:
        """The pairs of a head that meet most often; of equals those of the lower ids come first."""
        self._settle()
        start, end = np.searchsorted(self._rows[:, 0], [head, head + 1])
        counts = self._counts[start:end]
        first = np.argsort(-counts, kind="stable")[:most]
        rows = self._rows[start:end][first]
        return tuple(
            Joined(int(q), int(k), int(n)) for (_, q, k), n in zip(rows, counts[first], strict=True)
        )

"""The prompts in which a measure of a head is best: chosen by value, then by place.

A prompt is there once for each head and measure, with its best query. Axes: H head, M measure,
Q query, E example.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

MOST = 8


class Place(NamedTuple):
    """Where a prompt stands: a file, a line of it counted from 1, and which of the prompts that
    begin there."""

    file: str
    line: int
    chunk: int = 0


class Cell(NamedTuple):
    """An example: the number, the prompt, the query, and the key that this weighs most."""

    value: float
    place: Place
    query: int
    key: int


class Examples:
    """The best examples of so many heads and, of each, of measures whose largest numbers are best
    where `signs` has 1, the smallest where −1.

    `prompts` are the tokens' ids of the prompts that they are in, what an encoder–decoder's decoder
    reads left out.
    """

    def __init__(self, heads: int, signs: Sequence[int]) -> None:
        shape = heads, len(signs), MOST
        self._signs_M = np.array(signs, np.float64)
        self._best = np.full(shape, -np.inf)  # value × sign, the best first
        self._place = np.full(shape, -1, np.int64)  # of `places`
        self._query, self._key = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        self.places: list[Place] = []
        self.prompts: list[np.ndarray] = []

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """What is known beside places and prompts, by name, once `settle` was called."""
        names = ("best", "place", "query", "key")
        return {name: getattr(self, f"_{name}") for name in names}

    def offer(
        self, heads: np.ndarray, values_MHQ: np.ndarray, used_MHQ: np.ndarray, keys_HQ: np.ndarray,
        place: int,
    ) -> None:  # fmt: skip
        """Takes in the best query of a prompt, where it is among the best. Prompts are offered in
        the order of their places, `place` says which of `places`."""
        signed = np.where(used_MHQ, values_MHQ * self._signs_M[:, None, None], -np.inf)
        query_HM = signed.argmax(-1).T
        value_HM = signed.max(-1).T
        at_H, at_M = np.nonzero(value_HM > self._best[heads, :, -1])
        if not at_H.size:
            return
        query = query_HM[at_H, at_M]
        new = value_HM[at_H, at_M], place, query, keys_HQ[at_H, query]
        chosen = heads[at_H], at_M
        olds = [array[chosen] for array in self.arrays.values()]
        joined = [np.column_stack([old, np.broadcast_to(one, old.shape[:1])])
                  for old, one in zip(olds, new, strict=True)]  # fmt: skip
        order = np.argsort(-joined[0], axis=-1, kind="stable")[:, :MOST]
        for array, both in zip(self.arrays.values(), joined, strict=True):
            array[chosen] = np.take_along_axis(both, order, -1)

    def merge(self, other: "Examples") -> None:
        """Takes in other examples of the same heads and measures."""
        both = [
            np.concatenate([mine, its], -1)
            for mine, its in zip(self.arrays.values(), other.arrays.values(), strict=True)
        ]
        best, place, query, key = both
        place[..., MOST:] += np.where(place[..., MOST:] < 0, 0, len(self.places))
        self.places, self.prompts = self.places + other.places, self.prompts + other.prompts
        rank = self._ranks()[place]
        order = np.lexsort((query, rank, -best), axis=-1)[..., :MOST]
        self._best, self._place, self._query, self._key = (
            np.take_along_axis(array, order, -1) for array in (best, place, query, key)
        )
        self.settle()

    def settle(self) -> None:
        """Forgets the prompts that no example is in, and puts the others in order."""
        there = np.unique(self._place)
        there = [place for place in there.tolist() if place >= 0]
        there.sort(key=self.places.__getitem__)
        new = np.full(len(self.places) + 1, -1, np.int64)  # the last is of what is none
        new[there] = np.arange(len(there))
        self._place = new[self._place]
        self.places = [self.places[place] for place in there]
        self.prompts = [self.prompts[place] for place in there]

    def _ranks(self) -> np.ndarray:
        """Which place comes before which; none comes last."""
        order = sorted(range(len(self.places)), key=self.places.__getitem__)
        ranks = np.full(len(order) + 1, len(order), np.int64)
        ranks[order] = np.arange(len(order))
        return ranks

    def of(self, head: int, measure: int) -> tuple[Cell, ...]:
        """The examples of one measure of one head, the best first."""
        rows = zip(*(array[head, measure].tolist() for array in self.arrays.values()), strict=True)
        sign = float(self._signs_M[measure])
        return tuple(
            Cell(best * sign, self.places[place], query, key)
            for best, place, query, key in rows
            if place >= 0
        )

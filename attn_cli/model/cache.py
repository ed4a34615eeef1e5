"""Keys and values of the positions already computed, so that a next token costs one position."""

from collections.abc import Iterable

import numpy as np


class Cache:
    """Per layer, k and v (kv_head, key, width) of every position so far. Grows as layers ask."""

    def __init__(self) -> None:
        self.ids: tuple[int, ...] = ()  # the tokens of the positions that every layer has
        self._stored: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    @property
    def length(self) -> int:
        """How many positions every layer has."""
        return len(self.ids)

    def restart(self) -> tuple[int, ...]:
        """Forgets every position; returns their tokens, to be computed again."""
        ids, self.ids = self.ids, ()
        return ids

    def extend(
        self, layer: int, k_GKW: np.ndarray, v_GKV: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Adds the new positions of one layer and returns all of that layer's."""
        new = k_GKW.shape[1]
        end = self.length + new
        stored = self._stored.get(layer, (k_GKW[:, :0], v_GKV[:, :0]))
        if stored[0].shape[1] < end:
            stored = tuple(self._grown(old, end, self.length) for old in stored)
            self._stored[layer] = stored
        for kept, added in zip(stored, (k_GKW, v_GKV), strict=True):
            kept[:, self.length : end] = added
        return stored[0][:, :end], stored[1][:, :end]

    def advance(self, ids: Iterable[int]) -> None:
        """Call when every layer has been extended by the positions of these tokens."""
        self.ids += tuple(ids)

    @staticmethod
    def _grown(old: np.ndarray, need: int, used: int) -> np.ndarray:
        grown = np.empty((old.shape[0], max(64, 2 * need), old.shape[2]), old.dtype)
        grown[:, :used] = old[:, :used]
        return grown

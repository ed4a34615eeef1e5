"""What stays of a pass: its end, and for the next token the keys and values of those before."""

from collections.abc import Generator, Iterable
from typing import Any, NamedTuple

import numpy as np

from attn_cli.records import Address, Attention, Mixed, Passed

_ENCODER = "", 0


class End(NamedTuple):
    """The end of a pass: the last layer's vectors (query, model), and whether they are what-if."""

    x: np.ndarray
    touched: bool


Ids = tuple[int, ...]
Pass = Generator[Attention | Mixed | Passed, None, End]


class Cache:
    """Keys and values of the positions already computed, so that a next token costs one position.

    For each block, k and v (kv_head, key, width) of every position so far. Grows as blocks ask.
    What no further token changes is there `once`: the encoder's end, under "", and what each layer
    makes of it. Of a layer without keys its state is kept.
    """

    def __init__(self) -> None:
        self.ids: Ids = ()  # the tokens of the positions that every block has
        self.once: dict[tuple[str, int], Any] = {}
        self._stored: dict[Address, tuple[np.ndarray, np.ndarray]] = {}
        self._left: dict[tuple[str, int], dict[int, Any]] = {}

    @property
    def length(self) -> int:
        """How many positions every block has."""
        return len(self.ids)

    def restart(self) -> Ids:
        """Forgets every position; returns their tokens, to be computed again."""
        ids, self.ids = self.ids, ()
        return ids

    def extend(
        self, address: Address, k_GKW: np.ndarray, v_GKV: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Adds the new positions of one block and returns all of that block's."""
        end = self.length + k_GKW.shape[1]
        stored = self._stored.get(address, (k_GKW[:, :0], v_GKV[:, :0]))
        if stored[0].shape[1] < end:
            stored = tuple(self._grown(old, end, self.length) for old in stored)
            self._stored[address] = stored
        for kept, added in zip(stored, (k_GKW, v_GKV), strict=True):
            kept[:, self.length : end] = added
        return stored[0][:, :end], stored[1][:, :end]

    def resumed(self, place: tuple[str, int]) -> Any:
        """The state that the positions so far have left in a layer of a stack, None of none."""
        return self._left.get(place, {}).get(self.length)

    def leave(self, place: tuple[str, int], end: int, state: Any) -> None:
        """Keeps a layer's state after `end` positions, beside the one that it came from: a pass
        that does not reach its end is made again."""
        self._left[place] = {self.length: self.resumed(place), end: state}

    def advance(self, ids: Iterable[int]) -> None:
        """Call when every block has been extended by the positions of these tokens."""
        self.ids += tuple(ids)

    @staticmethod
    def _grown(old: np.ndarray, need: int, used: int) -> np.ndarray:
        grown = np.empty((old.shape[0], max(64, 2 * need), old.shape[2]), old.dtype)
        grown[:, :used] = old[:, :used]
        return grown


def encoded(cache: Cache | None, encoder: Pass) -> Pass:
    """The end of an encoder's pass, which a cache keeps."""
    if cache is None:
        return (yield from encoder)
    if _ENCODER not in cache.once:
        cache.once[_ENCODER] = yield from encoder
    return cache.once[_ENCODER]

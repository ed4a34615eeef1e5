"""A tensor of a checkpoint: known from a header, read when it is asked for."""

import mmap
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from attn_cli.checkpoints.floats import widen
from attn_cli.checkpoints.mapped import expect, forget
from attn_cli.errors import ContentError


class Tensor(NamedTuple):
    """Type, shape and size in bytes as stored, and what reads it.

    `stored` gives the values as they are stored, rows along the first axis; `widen` makes float32
    of the bytes of whole rows. `expect` tells the system that it
    will be read, `release` lets go of the memory that reading took. `where` begins
    the message of an error.
    """

    dtype: str
    shape: tuple[int, ...]
    size: int
    where: str
    stored: Callable[[], np.ndarray]
    widen: Callable[[str, np.ndarray], np.ndarray] = widen
    release: Callable[[], None] = lambda: None
    expect: Callable[[], None] = lambda: None

    def read(self) -> np.ndarray:
        """The whole tensor in float32 (a view of the file where it is stored so), read-only."""
        floats = self._floats(self.stored()).reshape(self.shape)
        floats.flags.writeable = False
        return floats

    def rows(self, indices: Sequence[int]) -> np.ndarray:
        """Only these rows along the first axis, float32; other rows' pages stay untouched."""
        chosen = np.array(indices, np.intp)
        if len(self.shape) < 2:  # such a tensor is stored as one row
            return self.read().reshape(-1)[chosen]
        if isinstance(indices, range) and indices.step == 1:
            chosen = slice(indices.start, indices.stop)
        return self._floats(self.stored()[chosen]).reshape(len(indices), *self.shape[1:])

    def _floats(self, stored: np.ndarray) -> np.ndarray:
        raw = np.ascontiguousarray(stored).reshape(-1).view(np.uint8)
        try:
            return self.widen(self.dtype, raw)
        except ContentError as error:
            raise ContentError(f"{self.where} {error.message}", error.hint) from None


def span(
    mapped: mmap.mmap,
    begin: int,
    size: int,
    dtype: str,
    shape: tuple[int, ...],
    where: str,
    widen: Callable[[str, np.ndarray], np.ndarray] = widen,
) -> Tensor:
    """A tensor that is `size` bytes of a mapped file, from `begin` on."""
    rows = shape[0] if len(shape) > 1 else 1

    def stored() -> np.ndarray:
        raw = np.frombuffer(mapped, np.uint8, size, begin)
        return raw.reshape(rows, size // max(rows, 1))

    release, expected = (partial(act, mapped, begin, begin + size) for act in (forget, expect))
    return Tensor(dtype, shape, size, where, stored, widen, release, expected)

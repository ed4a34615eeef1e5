"""A tensor of a checkpoint: known from a header, read when it is asked for."""

import mmap
from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import NamedTuple

import numpy as np

from attn_cli.checkpoints.floats import widen
from attn_cli.checkpoints.mapped import expect, forget
from attn_cli.errors import ContentError

# What is stored of a type, in float32: a view of it, or written to the array that may be given. Of
# quantised blocks it may be given their scales too, which are found of rows of bytes.
Widen = Callable[..., np.ndarray]
FindScales = Callable[[np.ndarray], tuple[np.ndarray, ...]]
# Some of the rows that were chosen before, in float32, in the array that may be given.
Rows = Callable[[slice, np.ndarray | None], np.ndarray]


class Tensor(NamedTuple):
    """Type, shape and size in bytes as stored, and what reads it.

    `stored` gives the values as they are stored, rows along the first axis; `widen` makes float32
    of whole rows, for which it may be given what `scales` found of them, where there is that.
    `expect` tells the system that they will be read, `release` lets go of the memory that reading
    took, `forget` of that of the lines along the last axis from one to before another, where each
    stands by itself. Views stay good: what is touched again is read again. `where` begins the
    message of an error.
    """

    dtype: str
    shape: tuple[int, ...]
    size: int
    where: str
    stored: Callable[[], np.ndarray]
    widen: Widen = widen
    release: Callable[[], None] = lambda: None
    expect: Callable[[], None] = lambda: None
    forget: Callable[[int, int], None] = lambda first, end: None
    scales: FindScales | None = None

    def read(self) -> np.ndarray:
        """The whole tensor in float32 (a view of the file where it is stored so), read-only."""
        floats = self._floats(self.stored(), None).reshape(self.shape)
        floats.flags.writeable = False
        return floats

    def rows(self, indices: Sequence[int] | slice, out: np.ndarray | None = None) -> np.ndarray:
        """Only these rows along the first axis, float32; other rows' pages stay untouched.

        Nothing is copied first where they follow each other, as in a slice or a range; where they
        are stored in float32 too, they are a view of the file. Rows of a matrix that are no view
        are written to `out` if it is given: float32 without a gap, (row, column). Several threads
        may call this at once. Raises IndexError for a row that there is not.
        """
        if isinstance(indices, slice):
            indices = range(self.shape[0])[indices]
        shape = self._shape(len(indices), out)
        if len(shape) < 2:  # such a tensor is stored as one row
            whole = self.read().reshape(-1)
            return whole[_chosen(indices, whole.size)]
        return self._floats(self.stored()[_chosen(indices, self.shape[0])], out).reshape(shape)

    def reader(self, indices: Sequence[int]) -> Rows:
        """What gives some of these rows of a matrix as `rows` does, by their places among them.

        The scales of quantised blocks are found once for all of them.
        """
        stored = self.stored()[_chosen(indices, self.shape[0])]
        scales = self.scales(stored) if self.scales else ()

        def rows(some: slice, out: np.ndarray | None) -> np.ndarray:
            raw = stored[some]
            shape = self._shape(len(raw), out)
            return self._floats(raw, out, tuple(one[some] for one in scales)).reshape(shape)

        return rows

    def _shape(self, count: int, out: np.ndarray | None) -> tuple[int, ...]:
        """The shape of so many rows. Raises ValueError if they do not fit into `out`."""
        shape = (count, *self.shape[1:])
        if out is not None and not (
            out.shape == shape and out.dtype == np.float32 and out.flags.c_contiguous
        ):
            raise ValueError(f"rows of shape {shape} do not fit {out.dtype} of shape {out.shape}")
        return shape

    def within(self, index: int, rows: slice, columns: slice = slice(None)) -> "Tensor":
        """Some rows of one of the matrices, or vectors, that this tensor holds along its first
        axis; of a matrix whose numbers are stored one by one also some columns."""
        inner = self.shape[1:]
        shape = tuple(len(range(n)[part]) for n, part in zip(inner, (rows, columns), strict=False))

        def stored() -> np.ndarray:
            some = self.stored()[index].reshape(inner[0], -1)[rows]
            if shape[1:] != inner[1:]:
                some = some.reshape(shape[0], inner[1], -1)[:, columns]
            return some.reshape(shape[0] if len(inner) > 1 else 1, -1)

        def forget(first: int, end: int) -> None:
            self.forget(lines[first], lines[end - 1] + 1)

        height = prod(inner[:-1])
        lines = range(index * height, (index + 1) * height)[rows if len(inner) > 1 else slice(None)]
        size = self.size // prod(self.shape[:-1]) * prod(shape) // inner[-1]
        return self._replace(shape=shape, size=size, stored=stored, forget=forget)

    def _floats(
        self, stored: np.ndarray, out: np.ndarray | None, scales: tuple[np.ndarray, ...] = ()
    ) -> np.ndarray:
        try:
            return self.widen(self.dtype, stored, out, *([scales] if scales else []))
        except ContentError as error:
            raise ContentError(f"{self.where} {error.message}", error.hint) from None


def _chosen(indices: Sequence[int], count: int) -> slice | np.ndarray:
    """What numpy copies nothing for, if they are some of `count` rows that follow each other."""
    run = isinstance(indices, range) and indices.step == 1
    if run and indices.start >= 0 and indices.stop <= count:
        return slice(indices.start, indices.stop)
    return np.array(indices, np.intp)


def span(
    mapped: mmap.mmap,
    begin: int,
    size: int,
    dtype: str,
    shape: tuple[int, ...],
    where: str,
    widen: Widen = widen,
    scales: FindScales | None = None,
) -> Tensor:
    """A tensor that is `size` bytes of a mapped file, from `begin` on."""
    rows = shape[0] if len(shape) > 1 else 1

    def stored() -> np.ndarray:
        raw = np.frombuffer(mapped, np.uint8, size, begin)
        return raw.reshape(rows, size // max(rows, 1))

    line = size // max(prod(shape[:-1]), 1)

    def forget_lines(first: int, end: int) -> None:
        forget(mapped, begin + first * line, begin + end * line)

    release, expected = (partial(act, mapped, begin, begin + size) for act in (forget, expect))
    return Tensor(dtype, shape, size, where, stored, widen, release, expected, forget_lines, scales)

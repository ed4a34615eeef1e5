"""Memory for what is thrown away at once: fresh memory costs more time than to fill it; and what
numpy copies on its way."""

import ctypes
import math
import threading
from functools import cache
from typing import Any

import numpy as np

_own = threading.local()
# Once it has been given an array back, glibc keeps what is freed of no larger ones, twice as much
# at most: else it gives the top of its heap back after each of the steps that make a matrix, and
# the system clears the same pages again and again. https://man7.org/linux/man-pages/man3/mallopt.3.html
np.empty(1 << 24, np.uint8)


def room(shape: tuple[int, ...], dtype: np.dtype, use: str = "") -> np.ndarray:
    """An array of any values, in memory that this thread has had before for this `use`.

    It is good until the thread asks again for the same use.
    """
    rooms = vars(_own)
    size = math.prod(shape) * dtype.itemsize
    if use not in rooms or rooms[use].size < size:
        rooms[use] = np.empty(size, np.uint8)
    return rooms[use][:size].view(dtype).reshape(shape)


def in_columns(array: np.ndarray) -> bool:
    """Whether the last axis but one is stored in one piece, not the last."""
    return array.ndim > 1 and array.strides[-1] > array.strides[-2]


# Since 2.3 numpy copies what it broadcasts along an axis into a buffer, once for each number that
# it is combined with, unless the axis is as long as the buffer, which holds 8,192 numbers if it is
# not told, and 16 at least. That is half the time of a step along a long axis; along a short one
# steps are begun more often, which then takes longer.
_LONG, _SMALLEST = 256, 16


def unbuffered(array: np.ndarray, **errors: str) -> np.errstate:
    """`np.errstate` for steps that combine each run along an array's innermost axis with a number.

    Steps that change a type on the way take more time in it, and give the same.
    """
    innermost = array.shape[-2] if in_columns(array) else array.shape[-1]
    return (_Unbuffered if innermost >= _LONG else np.errstate)(**errors)


class _Unbuffered(np.errstate):
    """numpy keeps the size of its buffers beside what it does about errors."""

    def __enter__(self) -> None:
        super().__enter__()
        np.setbufsize(_SMALLEST)


def room_like(array: np.ndarray, use: str) -> np.ndarray:
    """As `room`, for what is like an array, its axes in the same order in memory."""
    axes = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
    found = room(tuple(array.shape[axis] for axis in axes), array.dtype, use)
    return found.transpose([axes.index(axis) for axis in range(array.ndim)])


def give_back() -> None:
    """Gives the system what the C library keeps of freed memory, where there is a way to (glibc).

    What is taken later is fresh memory again, so this is for the end of long work.
    """
    if trim := _trim():
        trim(0)


@cache
def _trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # another C library, or another system
        return None

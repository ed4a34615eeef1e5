"""Memory for what is thrown away at once, and the size of numpy's own buffers.

Fresh memory costs more time than to fill it.
"""

import ctypes
import math
import threading
from functools import cache
from typing import Any

import numpy as np

_own = threading.local()
# glibc raises two thresholds for the whole process when a large block is freed: smaller ones come
# from its heap from then on, and up to twice the size stays there in each thread's arena. Otherwise
# it gives the top of the heap back after each step that makes a matrix, and the system clears the
# same pages again and again. https://man7.org/linux/man-pages/man3/mallopt.3.html
np.empty(1 << 21, np.uint8)


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


# From 2.3 on numpy copies what it broadcasts along an axis into a buffer, once for each number that
# it is combined with, unless the axis is as long as the buffer (8,192 numbers by default, 16 at
# least). That is half the time of a step along a long axis; along a short one the inner loop is
# called more often, which then takes longer. Before 2.3 it copies nothing, cuts its sums at the
# buffer, and 1.26 keeps the size when `np.errstate` ends.
_COPIES = np.lib.NumpyVersion(np.__version__) >= "2.3.0"
_LONG, _SMALLEST = 256, 16


def unbuffered(array: np.ndarray, **errors: str) -> np.errstate:
    """`np.errstate` for steps that combine each run along an array's innermost axis with a number.

    Steps that change a type on the way take more time in it, and give the same.
    """
    innermost = array.shape[-2] if in_columns(array) else array.shape[-1]
    return buffered(_SMALLEST, **errors) if innermost >= _LONG else np.errstate(**errors)


def buffered(size: int, **errors: str) -> np.errstate:
    """`np.errstate` with buffers of so many numbers, where numpy copies into them."""
    return _Buffered(size, errors) if _COPIES else np.errstate(**errors)


class _Buffered(np.errstate):
    """numpy keeps the size of its buffers beside what it does about errors."""

    def __init__(self, size: int, errors: dict[str, str]) -> None:
        super().__init__(**errors)
        self._size = size

    def __enter__(self) -> None:
        super().__enter__()
        np.setbufsize(self._size)


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

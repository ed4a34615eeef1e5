"""Memory for what is thrown away at once: fresh memory costs more time than to fill it."""

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

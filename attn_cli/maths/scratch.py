"""Memory for what is thrown away at once: fresh memory costs more time than to fill it."""

import math
import threading

import numpy as np

_own = threading.local()


def room(shape: tuple[int, ...], dtype: np.dtype, use: str = "") -> np.ndarray:
    """An array of any values, in memory that this thread has had before for this `use`.

    It is good until the thread asks again for the same use.
    """
    rooms = vars(_own)
    size = math.prod(shape) * dtype.itemsize
    if use not in rooms or rooms[use].size < size:
        rooms[use] = np.empty(size, np.uint8)
    return rooms[use][:size].view(dtype).reshape(shape)

"""Masks: boolean (query, key) arrays, true = this query may look at this key.

When there are more keys than queries the queries are the last positions, as in step-by-step
generation. Axes as suffixes: Q query, K key.
"""

import numpy as np


def distance(queries: int, keys: int) -> np.ndarray:
    """q − k for every pair, (query, key): positive = the key comes earlier."""
    return np.arange(keys - queries, keys)[:, None] - np.arange(keys)[None, :]


def none(queries: int, keys: int) -> np.ndarray:
    """Every query sees every key."""
    return np.ones((queries, keys), dtype=bool)


def causal(queries: int, keys: int) -> np.ndarray:
    """k ≤ q: no query sees a later key."""
    return distance(queries, keys) >= 0


def window(queries: int, keys: int, width: int, *, both_sides: bool = False) -> np.ndarray:
    """0 ≤ q − k < width (decoders), or |q − k| < width (encoders: `both_sides`)."""
    apart = distance(queries, keys)
    return np.abs(apart) < width if both_sides else (apart >= 0) & (apart < width)


def prefix(queries: int, keys: int, length: int) -> np.ndarray:
    """Causal, and the first `length` keys visible to every query."""
    return causal(queries, keys) | (np.arange(keys) < length)[None, :]


def hide_padding(visible_QK: np.ndarray, last: int) -> np.ndarray:
    """The last `last` keys hidden from everyone."""
    keys = visible_QK.shape[-1]
    return visible_QK & (np.arange(keys) < keys - last)


def hide_cell(visible_QK: np.ndarray, query: int, key: int) -> np.ndarray:
    """This query may not see this key."""
    hidden = visible_QK.copy()
    hidden[query, key] = False
    return hidden

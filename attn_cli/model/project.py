"""Step 2 as families do it: queries, keys and values, with the parameters that made them."""

from collections.abc import Mapping

import numpy as np

from attn_cli.maths.attention import project, split_heads
from attn_cli.maths.layers import linear
from attn_cli.model.stack import Stack

Arrays = dict[str, np.ndarray]


def apart(x: np.ndarray, **maps: tuple[np.ndarray, np.ndarray, int]) -> Arrays:
    """q, k and v, each of a map of its own: matrix (model, head × width), bias, count of heads."""
    return {letter: project(x, *of) for letter, of in maps.items()} | _parameters(maps)


def across(
    stack: Stack, x: np.ndarray, key_x: np.ndarray, **maps: tuple[np.ndarray, np.ndarray, int]
) -> Arrays:
    """As `apart`, but k and v of another stack's vectors, which a cache keeps."""
    kept = stack.once("cross", lambda: {name: project(key_x, *maps[name]) for name in "kv"})
    return {"key_x": key_x, "q": project(x, *maps["q"]), **kept, **_parameters(maps)}


def _parameters(maps: Mapping[str, tuple[np.ndarray, np.ndarray, int]]) -> Arrays:
    """The matrices and biases as each head has them."""
    arrays: Arrays = {}
    for letter, (w_MN, b_N, heads) in maps.items():
        arrays[f"w_{letter}"] = w_MN.reshape(len(w_MN), heads, -1).swapaxes(0, 1)
        if b_N.size:
            arrays[f"b_{letter}"] = b_N.reshape(heads, -1)
    return arrays


def fused(x: np.ndarray, w_NM: np.ndarray, b_N: np.ndarray, **heads: int) -> Arrays:
    """q, k and v of one matrix that holds all rows of the first, then those of the next.

    One product serves all three; everything is a view of it, or of the matrix. `heads` counts those
    of each letter.
    """
    product, width, at = linear(x, w_NM.T, b_N), len(w_NM) // sum(heads.values()), 0
    arrays: Arrays = {}
    for letter, count in heads.items():
        rows = slice(at, at + count * width)
        arrays[letter] = split_heads(product[:, rows], count)
        arrays[f"w_{letter}"] = split_heads(w_NM[rows].T, count)
        if b_N.size:
            arrays[f"b_{letter}"] = b_N[rows].reshape(count, -1)
        at = rows.stop
    return arrays


def interleaved(x: np.ndarray, w_NM: np.ndarray, b_N: np.ndarray, heads: int) -> Arrays:
    """q, k and v of one fused matrix whose rows are (head, q | k | v, width).

    One product serves all three; everything is a view of it, or of the matrix.
    """
    product = linear(x, w_NM.T, b_N).reshape(len(x), heads, 3, -1)
    matrix = w_NM.reshape(heads, 3, -1, w_NM.shape[-1])
    arrays: Arrays = {}
    for i, letter in enumerate("qkv"):
        arrays[letter] = product[:, :, i].swapaxes(0, 1)
        arrays[f"w_{letter}"] = matrix[:, i].swapaxes(1, 2)
        if b_N.size:
            arrays[f"b_{letter}"] = b_N.reshape(heads, 3, -1)[:, i]
    return arrays

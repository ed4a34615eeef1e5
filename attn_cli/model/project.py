"""Step 2 as families do it: queries, keys and values, with the parameters that made them."""

from collections.abc import Callable, Mapping

import numpy as np

from attn_cli.maths.attention import split_heads
from attn_cli.maths.products import Map, through
from attn_cli.model.stack import Stack

# A parameter is made only where it is shown.
Arrays = dict[str, np.ndarray | Callable[[], np.ndarray]]


def apart(x: np.ndarray, **maps: tuple[Map, int]) -> Arrays:
    """q, k and v (or others), each of a map of its own and so many heads."""
    products = through(x, *(of for of, _ in maps.values()))
    vectors = {
        name: split_heads(product, heads)
        for (name, (_, heads)), product in zip(maps.items(), products, strict=True)
    }
    return vectors | _parameters(maps)


def across(stack: Stack, x: np.ndarray, key_x: np.ndarray, **maps: tuple[Map, int]) -> Arrays:
    """As `apart`, but k and v of another stack's vectors, which a cache keeps."""
    of_keys = {name: maps[name] for name in "kv"}
    kept = stack.once("cross", lambda: apart(key_x, **of_keys))
    return {"key_x": key_x, **apart(x, q=maps["q"]), **kept, **_parameters(of_keys)}


def _parameters(maps: Mapping[str, tuple[Map, int]]) -> Arrays:
    """The matrices and biases as each head has them."""
    arrays: Arrays = {}
    for letter, (of, heads) in maps.items():
        arrays[f"w_{letter}"] = lambda of=of, heads=heads: split_heads(of.matrix, heads)
        if of.bias.size:
            arrays[f"b_{letter}"] = of.bias.reshape(heads, -1)
    return arrays


def fused(x: np.ndarray, of: Map, **heads: int) -> Arrays:
    """q, k and v of one matrix that holds all rows of the first, then those of the next.

    One product serves all three, which are views of it. `heads` counts those of each letter.
    """
    (product,) = through(x, of)
    width, at = of.outputs // sum(heads.values()), 0
    vectors, maps = {}, {}
    for letter, count in heads.items():
        rows = slice(at, at + count * width)
        vectors[letter], maps[letter] = split_heads(product[:, rows], count), (of.part(rows), count)
        at = rows.stop
    return vectors | _parameters(maps)


def interleaved(x: np.ndarray, of: Map, heads: int) -> Arrays:
    """q, k and v of one fused matrix whose rows are (head, q | k | v, width).

    One product serves all three, which are views of it.
    """
    (product,) = through(x, of)
    vectors = product.reshape(len(x), heads, 3, -1)
    arrays: Arrays = {}
    for i, letter in enumerate("qkv"):
        arrays[letter] = vectors[:, :, i].swapaxes(0, 1)
        arrays[f"w_{letter}"] = lambda i=i: of.matrix.reshape(-1, heads, 3, vectors.shape[-1])[
            :, :, i
        ].swapaxes(0, 1)
        if of.bias.size:
            arrays[f"b_{letter}"] = of.bias.reshape(heads, 3, -1)[:, i]
    return arrays

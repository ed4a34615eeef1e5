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


def interleaved(x: np.ndarray, of: Map, groups: int, **counts: int) -> Arrays:
    """q, k and v of one fused matrix whose rows are (group, head of the group, width).

    Each group has as many heads of each letter as `counts` says, in this order: one each where it
    says nothing. One product serves all three.
    """
    counts = counts or dict.fromkeys("qkv", 1)
    (product,) = through(x, of)
    each, at = sum(counts.values()), 0
    arrays: Arrays = {}
    for letter, count in counts.items():
        some = slice(at, at + count)
        arrays[letter] = _of_groups(product, groups, each, some)
        arrays[f"w_{letter}"] = lambda some=some: _of_groups(of.matrix, groups, each, some)
        if of.bias.size:
            arrays[f"b_{letter}"] = _of_groups(of.bias[None], groups, each, some)[:, 0]
        at = some.stop
    return arrays


def _of_groups(rows: np.ndarray, groups: int, each: int, some: slice) -> np.ndarray:
    """`some` of the heads of each group, (head, row, width), of rows that have all side by side."""
    of_groups = rows.reshape(len(rows), groups, each, -1)[:, :, some]
    return of_groups.reshape(len(rows), groups * (some.stop - some.start), -1).swapaxes(0, 1)

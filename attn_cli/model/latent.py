"""Keys and values of all heads from one latent vector (DeepSeek-AI 2024, "DeepSeek-V2").

Two maps with a norm between lead to a head's key and value: what stands in the middle, the latent,
is one vector per position, narrow enough to be kept instead of them. The last dimensions of a key
are made of the input itself; they alone rotate, and all heads share them.

Axes, as suffixes: H head, P position, L latent, M model, R rotated width, W width.
"""

from typing import NamedTuple

import numpy as np

from attn_cli.maths.attention import split_heads
from attn_cli.maths.products import Map, through
from attn_cli.model.project import Arrays
from attn_cli.model.rope import Angles, rotated


class Columns(NamedTuple):
    """Which dimensions of a query or key rotate: those after the `plain` ones.

    `paired`: the file has those that rotate together side by side, and the reference library puts
    the first of each pair before all of the second.
    """

    plain: int
    paired: bool = False

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Vectors (…, rotated) in the order in which they rotate."""
        if not self.paired:
            return rows
        pairs = rows.reshape(*rows.shape[:-1], -1, 2)
        return pairs.swapaxes(-1, -2).reshape(rows.shape)

    def of_whole(self, vectors: np.ndarray) -> np.ndarray:
        """The same of vectors (…, width) that begin with the plain dimensions."""
        if not self.paired:
            return vectors
        plain, last = np.split(vectors, [self.plain], axis=-1)
        return np.concatenate([plain, self.of(last)], axis=-1)


def queries(x_PM: np.ndarray, of: Map, heads: int, columns: Columns, name: str) -> Arrays:
    """q (head, query, width), before rotation, and the matrix that made it under its `name`."""
    (product,) = through(x_PM, of)
    return {
        "q": columns.of_whole(split_heads(product, heads)),
        name: lambda: columns.of_whole(split_heads(of.matrix, heads)),
    }


def keys_and_values(latent_PL: np.ndarray, of: Map, heads: int, columns: Columns) -> Arrays:
    """The plain dimensions of k, and v, of one matrix whose rows are (head, k | v, width)."""
    (product,) = through(latent_PL, of)
    both_HPW, plain = split_heads(product, heads), columns.plain
    return {
        "kv_latent": latent_PL,
        "k": both_HPW[..., :plain],
        "v": both_HPW[..., plain:],
        "w_k_latent": lambda: split_heads(of.matrix, heads)[..., :plain],
        "w_v_latent": lambda: split_heads(of.matrix, heads)[..., plain:],
    }


def joined(k_HLW: np.ndarray, v_HVL: np.ndarray) -> Map:
    """The matrix of `keys_and_values` where keys and values have tensors of their own, those of
    keys turned round, as GGUF files hold them."""
    heads, latent, plain = k_HLW.shape
    width = plain + v_HVL.shape[1]

    def rows(part: slice) -> np.ndarray:
        some = slice(part.start // width, -(-part.stop // width))
        both = np.concatenate([k_HLW[some].swapaxes(1, 2), v_HVL[some]], axis=1)
        start = some.start * width
        return both.reshape(-1, latent)[part.start - start : part.stop - start]

    return Map(heads * width, rows, made=True)


def shared(rotating_PR: np.ndarray, of: Map, columns: Columns) -> Arrays:
    """The dimensions of k that all heads share, and the map that made them."""
    return {
        "k_shared": columns.of(rotating_PR)[None],
        "w_k_rotated": lambda: columns.of(of.matrix),
        "b_k_rotated": columns.of(of.bias),
    }


def turned(arrays: Arrays, columns: Columns, by: Angles) -> Arrays:
    """q and k whose last dimensions are rotated, those of k the shared ones."""
    arrays, plain = dict(arrays), columns.plain
    q_HPW, k_HPW, k_1PR = arrays["q"], arrays["k"], arrays.pop("k_shared")
    found = rotated({"q": q_HPW[..., plain:], "k": k_1PR}, by)
    plains = {"q": q_HPW[..., :plain], "k": k_HPW}
    for letter, first in plains.items():
        for name in (letter, f"{letter}_unrotated"):
            last = np.broadcast_to(found[name], (*first.shape[:-1], found[name].shape[-1]))
            found[name] = np.concatenate([first, last], axis=-1)
    return {**arrays, **found}

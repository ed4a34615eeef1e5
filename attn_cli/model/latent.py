"""Keys and values of all heads from one latent vector (DeepSeek-AI 2024, "DeepSeek-V2").

Two maps with a norm between lead to a head's key and value: what stands in the middle, the latent,
is one vector per position, narrow enough to be kept instead of them. The last dimensions of a key
are made of the input itself; they alone rotate, and all heads share them. Queries may come of a
latent of their own.

The tensors are named as in the reference library: `kv_a_proj_with_mqa` holds the rows of the
latent, then those of the shared dimensions; `kv_b_proj` a head's key rows, then its value rows.
Axes, as suffixes: H head, P position, L latent, M model, V width of a value, W plain width.
"""

from typing import NamedTuple

import numpy as np

from attn_cli.maths.attention import split_heads
from attn_cli.maths.layers import rms_norm
from attn_cli.maths.products import Map, through
from attn_cli.maths.tiles import WIDENED
from attn_cli.model.project import Arrays
from attn_cli.model.rope import Angles, rotated
from attn_cli.model.tensors import Shapes, maps, norms
from attn_cli.model.weights import LayerWeights

EPSILON = 1e-6  # of the latents' norms, whatever the config says of others
_AT = "self_attn."


class Latents(NamedTuple):
    """The widths of a head's query or key, `plain` and then `rotated`, of its `values`, and of the
    latents of keys and values (`kv`) and of queries (`q`; 0: none).

    `paired`: the file has dimensions that rotate together side by side, and the reference library
    puts the first of each pair before all of the second. `split`: the rows of keys and those of
    values are tensors of their own, as in GGUF files.
    """

    heads: int
    plain: int
    rotated: int
    values: int
    kv: int
    q: int = 0
    paired: bool = False
    split: bool = False

    def ordered(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors (…, rotated), or (…, plain + rotated), in the order in which they rotate."""
        if not self.paired:
            return vectors
        first, last = np.split(vectors, [vectors.shape[-1] - self.rotated], axis=-1)
        pairs = last.reshape(*last.shape[:-1], -1, 2).swapaxes(-1, -2)
        return np.concatenate([first, pairs.reshape(last.shape)], axis=-1)


def shapes(of: Latents, width: int, *, biased: bool) -> Shapes:
    """The tensors of every layer's attention but for its output; those from x may be `biased`."""
    at, heads = f"layers.*.{_AT}", of.heads
    rows = heads * (of.plain + of.rotated)
    found = maps({f"{at}kv_a_proj_with_mqa": (of.kv + of.rotated, width)}, biased=biased)
    found |= norms(of.kv, f"{at}kv_a_layernorm", biased=False)
    if of.q:
        found |= maps({f"{at}q_a_proj": (of.q, width)}, biased=biased)
        found |= norms(of.q, f"{at}q_a_layernorm", biased=False)
    found |= {f"{at}{'q_b' if of.q else 'q'}_proj.weight": (rows, of.q or width)}
    if not of.split:
        return found | {f"{at}kv_b_proj.weight": (heads * (of.plain + of.values), of.kv)}
    return found | {
        f"{at}k_b_proj.weight": (heads, of.kv, of.plain),
        f"{at}v_b_proj.weight": (heads, of.values, of.kv),
    }


def project(parts: LayerWeights, of: Latents, x_PM: np.ndarray, by: Angles) -> Arrays:
    """q, k and v of a layer, what q and k were before rotation, the latents, and all matrices."""
    kv_a = parts.map(f"{_AT}kv_a_proj_with_mqa")
    own, last = kv_a.part(slice(0, of.kv)), kv_a.part(slice(of.kv, kv_a.outputs))
    kv_PL, shared_PR = through(x_PM, own, last)
    weight_L = parts[f"{_AT}kv_a_layernorm.weight"]
    kv_PL = rms_norm(kv_PL, weight_L, EPSILON)
    kv_b, plain = _kv_b(parts, of), of.plain
    both_HPW = split_heads(through(kv_PL, kv_b)[0], of.heads)
    queries = _queries(parts, of, x_PM)
    plain_k, q = both_HPW[..., :plain], queries["q"]
    turned = rotated({"q": q[..., plain:], "k": of.ordered(shared_PR)[None]}, by)
    for letter, first in (("q", q[..., :plain]), ("k", plain_k)):
        for name in (letter, f"{letter}_unrotated"):
            rest = np.broadcast_to(turned[name], (*first.shape[:-1], of.rotated))
            turned[name] = np.concatenate([first, rest], axis=-1)
    return {
        **queries,
        **turned,
        "v": both_HPW[..., plain:],
        "w_kv_down": lambda: own.matrix,
        "b_kv_down": own.bias,
        "w_kv_latent_norm": weight_L,
        "kv_latent": kv_PL,
        "w_k_latent": lambda: split_heads(kv_b.matrix, of.heads)[..., :plain],
        "w_v_latent": lambda: split_heads(kv_b.matrix, of.heads)[..., plain:],
        "w_k_rotated": lambda: of.ordered(last.matrix),
        "b_k_rotated": of.ordered(last.bias) if last.bias.size else last.bias,
    }


def _queries(parts: LayerWeights, of: Latents, x_PM: np.ndarray) -> Arrays:
    """q before rotation, its latent if it has one, and the matrices that made them."""
    if not of.q:
        q = parts.map(f"{_AT}q_proj")
        made: Arrays = {"w_q": lambda: of.ordered(split_heads(q.matrix, of.heads))}
    else:
        down, q = (parts.map(f"{_AT}q_{which}_proj") for which in "ab")
        weight_L = parts[f"{_AT}q_a_layernorm.weight"]
        x_PM = rms_norm(through(x_PM, down)[0], weight_L, EPSILON)
        made = {
            "w_q_down": lambda: down.matrix,
            "b_q_down": down.bias,
            "w_q_latent_norm": weight_L,
            "q_latent": x_PM,
            "w_q_latent": lambda: of.ordered(split_heads(q.matrix, of.heads)),
        }
    return {**made, "q": of.ordered(split_heads(through(x_PM, q)[0], of.heads))}


def _kv_b(parts: LayerWeights, of: Latents) -> Map:
    """The matrix from the latent, whose rows are (head, key | value, width)."""
    if not of.split:
        return parts.map(f"{_AT}kv_b_proj")
    k_HLW, v_HVL = (parts[f"{_AT}{letter}_b_proj.weight"] for letter in "kv")
    width = of.plain + of.values

    def rows(part: slice) -> np.ndarray:
        some = slice(part.start // width, -(-part.stop // width))
        both = np.concatenate([k_HLW[some].swapaxes(1, 2), v_HVL[some]], axis=1)
        start = some.start * width
        return both.reshape(-1, of.kv)[part.start - start : part.stop - start]

    return Map(of.heads * width, rows, made=WIDENED)

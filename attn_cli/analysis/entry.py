"""The arithmetic of one entry of a projection (q, k, v), of the weighted sum or of the output."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from attn_cli import vocabulary
from attn_cli.analysis.heads import found
from attn_cli.analysis.why import NONE, Dot, dot, of_query
from attn_cli.errors import UsageError
from attn_cli.maths.positions import Rotary, pairs, rotate
from attn_cli.maths.products import NOTHING
from attn_cli.records import Address, Attention, Facts, Trace

_OF_PROJECTION = ("x", "key_x", "normed", "q_unrotated", "k_unrotated")
# What each array that can be asked for is made from.
NEEDS = {
    "q": frozenset({*_OF_PROJECTION, "q_latent", "w_q_latent", "w_q", "b_q", "q"}),
    "k": frozenset(
        {
            *_OF_PROJECTION,
            "kv_latent",
            "w_k_latent",
            "w_k_rotated",
            "b_k_rotated",
            "w_k",
            "b_k",
            "k",
        }
    ),
    "v": frozenset({*_OF_PROJECTION, "kv_latent", "w_v_latent", "w_v", "b_v", "v"}),
    "z": frozenset({"weights", "v", "z"}),
    "output": frozenset({"z", "w_o", "b_o", "head_output", "output"}),
}
OF_KEYS = ("k", "v")


class HeadNorm(NamedTuple):
    """What normalises a head's q or k: (x − `mean`) ÷ `root` × `weight` + `bias`; √(mean square +
    ε) the root.

    `of` is a word of `vocabulary.HEAD_NORMS`. An RMS norm subtracts no mean (NaN); a norm without
    a bias adds none (NaN).
    """

    of: str
    mean: float
    root: float
    weight: float
    bias: float
    value: float


class Rotation(NamedTuple):
    """The rotation of two dimensions by an `angle`, (a, b) → (a·cos − b·sin, a·sin + b·cos), times
    the attention `factor`, and a query's by the `growth` of its position; `a` is that of dimension
    `first`, `b` of `second`."""

    first: int
    second: int
    a: float
    b: float
    angle: float
    factor: float
    growth: float = 1.0


class Part(NamedTuple):
    """What one head adds to an entry of the output."""

    head: int
    value: float


class Entry(NamedTuple):
    """One entry of an array: row `position`, `column`.

    `input` names what is multiplied. `dot` is the sum of products; `bias` is added to it (NaN:
    none), and the sum is kept between −`clip` and `clip` (NaN: it is not); `norm` and `rotation`
    follow where the family has them (at most one of each), in the order that the norm tells. For
    `output` the sum is the head's own, and `heads` are all of them, with the bias.
    """

    stack: str
    kind: str
    layer: int
    head: int
    array: str
    position: int
    column: int
    provenance: str
    input: str
    dot: Dot
    bias: float
    clip: float
    norm: tuple[HeadNorm, ...]
    rotation: tuple[Rotation, ...]
    heads: tuple[Part, ...]
    value: float


@np.errstate(all="ignore")
def entry(
    trace: Trace, where: int | Address, head: int, array: str, position: int, column: int
) -> Entry:
    """One entry of a traced array; `position` is a key's for k and v, else a query's.

    The trace needs the array's `NEEDS` of that position, every key for z and every head for
    `output`. Raises UsageError with the columns that there are.
    """
    block = found(trace, where)
    values = block.arrays[array]
    if not 0 <= column < values.shape[-1]:
        raise UsageError(
            f"--column {column} is out of range", f"{array} has columns 0 to {values.shape[-1] - 1}"
        )
    make = {"z": _weighted, "output": _combined}.get(array, _projected)
    made = make(trace.model, block, head, array, position, column)
    return Entry(
        stack=block.stack, kind=block.kind, layer=block.layer, head=head, array=array,
        position=position, column=column, provenance=block.provenance(array), **made,
    )  # fmt: skip


def _projected(
    facts: Facts, block: Attention, head: int, array: str, position: int, column: int
) -> dict:
    """x·W + b, clipped where the family does so, then the norm and the rotation."""
    if facts.clipped and facts.head_norm and array != "v":
        raise UsageError(
            f"--array {array}: this model normalises {array} and then clips it, which does not "
            "follow from what a trace holds", "--array v, z and output show their arithmetic",
        )  # fmt: skip
    of_keys = array in OF_KEYS
    at = (block.keys if of_keys else block.queries).index(position)
    own = head // facts.group_of(block.stack)
    place = block.kv_heads.index(own) if of_keys else block.heads.index(head)
    made = _made(facts, block, array, column)
    x = block.arrays[made.input][at].astype(np.float64)
    w_HMW, b_HW = _learned(block, made.map)
    mine, its = min(place, len(w_HMW) - 1), column - made.first
    raw_HW = x @ w_HMW + (b_HW if b_HW.size else 0)
    bias = float(b_HW[mine, its]) if b_HW.size else NONE
    product = float(raw_HW[mine, its] - (0 if np.isnan(bias) else bias))
    clip = facts.clipped or NONE
    if facts.clipped:
        raw_HW = raw_HW.clip(-clip, clip)
    before = block.arrays.get(f"{array}_unrotated", block.arrays[array])[place, at]
    norm, turned, last = (), (), before
    if array != "v":
        turned = _rotation(facts, block, before, position, column)
        if facts.head_norm == "rotated":
            raw_HW = _rotated(facts, block, raw_HW, position)
            last = block.arrays[array][place, at]
        bias_W = bias_of_norm(block, array, own if of_keys else head)
        norm = _head_norm(facts, raw_HW, place, float(last[column]), column, bias_W)
    if array == "q" and turned and "query_factor" in block.shown:
        growth = float(block.shown["query_factor"][position])
        turned = (turned[0]._replace(growth=growth),)
    return {"input": made.input, "dot": dot(f"{made.input}·W", x, w_HMW[mine, :, its], product),
            "bias": bias, "clip": clip, "norm": norm, "rotation": turned, "heads": (),
            "value": float(block.arrays[array][place, at, column])}  # fmt: skip


class _Made(NamedTuple):
    """How an entry of q, k or v is made: of which array, by the map of which name, of whose columns
    the `first` stands in this one of the whole vector."""

    input: str
    map: str
    first: int = 0


def _made(facts: Facts, block: Attention, array: str, column: int) -> _Made:
    if array == "q" and facts.q_latent:
        return _Made("q_latent", "q_latent")
    if array == "v" and facts.kv_latent:
        return _Made("kv_latent", "v_latent")
    if array == "k" and column < facts.rotated_from:
        return _Made("kv_latent", "k_latent")
    crosses = array in OF_KEYS and block.address.crosses
    name = "key_x" if crosses else "normed" if "normed" in block.arrays else "x"
    shared = array == "k" and facts.kv_latent
    return _Made(name, "k_rotated", facts.rotated_from) if shared else _Made(name, array)


def _learned(block: Attention, of: str) -> tuple[np.ndarray, np.ndarray]:
    """The matrix and the bias of each head, (head, input, width) and (head, width); the bias is of
    size 0 where there is none. Those that all heads share are there once."""
    matrix, bias = (block.arrays.get(f"{kind}_{of}", NOTHING).astype(np.float64) for kind in "wb")
    return (matrix, bias) if matrix.ndim > 2 else (matrix[None], bias[None])


def _head_norm(
    facts: Facts, raw_HW: np.ndarray, place: int, value: float, column: int, bias_W: np.ndarray
) -> tuple[HeadNorm, ...]:
    """Mean and root follow from the head's whole vector, or all heads'; the learned weight is the
    quotient."""
    if not facts.head_norm:
        return ()
    over, raw = raw_HW if facts.head_norm == "all" else raw_HW[place], raw_HW[place, column]
    mean = float(over.mean()) if facts.norm == "layer" else NONE
    centre = 0.0 if np.isnan(mean) else mean
    root = float(np.sqrt(np.mean((over - centre) ** 2) + facts.epsilon))
    bias = float(bias_W[column]) if bias_W.size else NONE
    plain = value if np.isnan(bias) else value - bias
    weight = float(plain * root / (raw - centre)) if raw != centre else NONE
    return (HeadNorm(facts.head_norm, mean, root, weight, bias, value),)


def bias_of_norm(block: Attention, letter: str, head: int) -> np.ndarray:
    """What the norm of a head's queries or keys adds, (width), of size 0 if it has no bias."""
    return block.shown.get(f"{letter}_norm_bias", np.zeros((head + 1, 0)))[head]


def _rotated(facts: Facts, block: Attention, raw_HW: np.ndarray, position: int) -> np.ndarray:
    """Vectors of a position as they are rotated there."""
    cos, sin = turning(block, [position])
    if not cos.size:
        return raw_HW
    by = Rotary(cos, sin, interleaved=facts.interleaved)
    return rotate([raw_HW[:, None]], by)[0][:, 0]


def turning(block: Attention, positions: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of a block's rotation, times the attention factor, (position, pair): of size
    0 where it does not rotate."""
    if "angles" not in block.shown:
        return np.zeros((0, 0)), np.zeros((0, 0))
    angles = block.shown["angles"][list(positions)].astype(np.float64)
    factor = float(block.shown["attention_factor"])
    return np.cos(angles) * factor, np.sin(angles) * factor


def _rotation(
    facts: Facts, block: Attention, before_W: np.ndarray, position: int, column: int
) -> tuple[Rotation, ...]:
    """The two dimensions that rotate together; those beyond the rotated ones stay."""
    column, start = column - facts.rotated_from, facts.rotated_from
    if "angles" not in block.shown or not 0 <= column < facts.rotated:
        return ()
    angles = block.shown["angles"][position]
    pair = column // 2 if facts.interleaved else column % len(angles)
    width = 2 * len(angles)
    first, second = (start + range(width)[part][pair] for part in pairs(width, facts.interleaved))
    a, b = float(before_W[first]), float(before_W[second])
    factor = float(block.shown["attention_factor"])
    return (Rotation(first, second, a, b, float(angles[pair]), factor),)


def _weighted(
    facts: Facts, block: Attention, head: int, array: str, position: int, column: int
) -> dict:
    """Σ weight × v."""
    at, place = of_query(block, head, position)
    v = block.v[block.kv_heads.index(head // facts.group_of(block.stack))][:, column]
    value = float(block.z[place, at, column])
    weights = block.weights[place, at]
    v = np.where(weights == 0, 0, v)  # a hidden NaN takes no part
    return {"input": "weights", "dot": dot("z", weights, v, value), "bias": NONE, "clip": NONE,
            "norm": (), "rotation": (), "heads": (), "value": value}  # fmt: skip


def _combined(
    facts: Facts, block: Attention, head: int, array: str, position: int, column: int
) -> dict:
    """z·W_O of the head, then the sum of all heads and the bias."""
    at, place = of_query(block, head, position)
    pulls = block.head_output[:, at, column]
    z, w = block.z[place, at], block.w_o[place, :, column]
    kept = 0.0 if head in block.removed else 1.0
    b_o = block.arrays.get("b_o")
    parts = [Part(h, float(pull)) for h, pull in zip(block.heads, pulls, strict=True)]
    return {
        "input": "z", "dot": dot("head_output", z * kept, w, float(pulls[place])),
        "bias": NONE if b_o is None else float(b_o[column]), "clip": NONE, "norm": (),
        "rotation": (), "heads": tuple(parts), "value": float(block.output[at, column]),
    }  # fmt: skip


def wanted(facts: Facts, array: str, head: int, position: int, crosses: bool) -> dict:
    """What to ask of a session: the arrays, the heads and the (queries, keys) that are needed."""
    every = array == "output" or (array in "qk" and facts.head_norm == "all")
    one = (position,)
    queries = (0,) if crosses and array in OF_KEYS else one
    keys = None if array == "z" else one if array in OF_KEYS else (0,)
    return {"arrays": NEEDS[array], "head": "all" if every else head,
            "places": (queries, keys)}  # fmt: skip


ARRAYS = tuple(name for name in vocabulary.ARRAYS if name in NEEDS)

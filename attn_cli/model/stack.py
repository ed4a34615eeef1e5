"""One attention block for every family: the six steps, the what-if settings, the record."""

import mmap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from attn_cli import vocabulary
from attn_cli.maths.attention import (
    NO_BIAS,
    Attended,
    attend,
    attend_lean,
    combine,
    default_scale,
    pull,
)
from attn_cli.maths.layers import linear
from attn_cli.maths.masks import causal, window
from attn_cli.maths.positions import rotate
from attn_cli.model.cache import Cache
from attn_cli.model.what_if import WhatIf
from attn_cli.records import Attention

_LARGE = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to record and how far to run.

    `layers` and `heads` are recorded, of the arrays named in `arrays`; `last_layer` is the last
    one computed. `what_if` acts on every layer.
    """

    layers: frozenset[int]
    heads: tuple[int, ...]
    arrays: frozenset[str]
    last_layer: int
    what_if: WhatIf = field(default_factory=WhatIf)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """What a family hands to `run_block`: one layer's vectors and its own facts.

    `arrays` are those already computed (step 1 and 2, and parameters on demand); `w_o` (head ×
    value_width, model) and `b_o` (model) are the output projection. A `scale` of 0 is 1 / √width;
    a `soft_cap` of 0 and a `bias` (head, query, key) of size 0 say that the family has none.
    `touched` says that an earlier layer was changed by a what-if setting; `embedding`,
    `residual` and `own_names` see Attention.
    """

    layer: int
    stack: str = "decoder"
    kind: str = "self"
    arrays: Mapping[str, np.ndarray]
    own_visible: np.ndarray
    w_o: np.ndarray
    b_o: np.ndarray
    scale: float = 0.0
    soft_cap: float = 0.0
    bias: np.ndarray = field(default_factory=lambda: NO_BIAS)
    embedding: str = "token"
    residual: str = "added"
    touched: bool = False
    own_names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """A block's `output` (query, model), its record if one was asked for, and if it was touched."""

    output: np.ndarray
    records: tuple[Attention, ...]
    touched: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Final:
    """The end of a pass: `hidden` (query, model) after the last norm; no rows if it stopped."""

    hidden: np.ndarray
    touched: bool


def run_block(request: Request, block: Block, cache: Cache | None = None) -> Result:
    """Steps 3 to 6 of one layer under the what-if settings, and the record of it.

    With a cache, k and v of earlier positions come first and the queries are the last positions.
    """
    what_if = request.what_if
    arrays = dict(block.arrays)
    if cache:
        arrays["k"], arrays["v"] = cache.extend(block.layer, arrays["k"], arrays["v"])
    if block.bias.size:
        arrays["bias"] = block.bias
    scale = block.scale or default_scale(arrays["q"].shape[-1])
    visible = what_if.visible(block.own_visible, both_sides=block.stack == "encoder")
    wanted = request.arrays if block.layer in request.layers else frozenset()
    options = {
        "scale": scale, "cap": block.soft_cap, "bias_HQK": block.bias,
        "attention_temperature": what_if.attention_temperature,
    }  # fmt: skip
    steps = _attend(arrays, visible, options, wanted)
    removed = [head for layer, head in what_if.without_head if layer == block.layer]
    z = steps.z
    if removed:
        z = z.copy()
        z[removed] = 0
    output = combine(z, block.w_o, block.b_o)
    touched_arrays = _touched(block, what_if, visible, bool(removed))
    records: tuple[Attention, ...] = ()
    if block.layer in request.layers:
        computed = {**arrays, **steps._asdict(), "visible": visible, "output": output}
        if "head_output" in wanted:
            computed["head_output"] = pull(z, block.w_o)
        records = (_record(request, block, scale, computed, touched_arrays),)
    return Result(output=output, records=records, touched=bool(touched_arrays))


def _attend(
    arrays: Mapping[str, np.ndarray],
    visible: np.ndarray,
    options: Mapping[str, Any],
    wanted: frozenset[str],
) -> Attended:
    q, k, v = (arrays[name] for name in "qkv")
    if wanted & {"scores", "scaled", "masked"}:
        return attend(q, k, v, visible, **options)
    shape = (len(q), *visible.shape) if "weights" in wanted else (0, 0, 0)
    return attend_lean(q, k, v, visible, weights_HQK=_untouched(shape, q.dtype), **options)


def _untouched(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Zeros whose pages take memory only once they are written.

    numpy asks for huge pages, of which one written number makes 2 MiB resident.
    """
    size = int(np.prod(shape)) * dtype.itemsize
    if size < _LARGE or not hasattr(mmap, "MADV_NOHUGEPAGE"):
        return np.zeros(shape, dtype)
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    pages.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(pages, dtype).reshape(shape)


def _touched(
    block: Block, what_if: WhatIf, visible: np.ndarray, head_removed: bool
) -> frozenset[str]:
    """The arrays that the settings have changed: everything from the first touched one onward."""
    if block.touched:
        return vocabulary.arrays_from(next(iter(vocabulary.ARRAYS)))
    if visible is not block.own_visible and (visible != block.own_visible).any():
        return vocabulary.arrays_from("visible")
    if what_if.attention_temperature != 1:
        return vocabulary.arrays_from("weights")
    return vocabulary.arrays_from("head_output") if head_removed else frozenset()


def _record(
    request: Request,
    block: Block,
    scale: float,
    computed: Mapping[str, np.ndarray],
    touched: frozenset[str],
) -> Attention:
    group = block.arrays["q"].shape[0] // block.arrays["k"].shape[0]
    kv_heads = tuple(dict.fromkeys(head // group for head in request.heads))
    picked = {"head": list(request.heads), "kv_head": list(kv_heads)}
    arrays = {}
    for name, spec in vocabulary.ARRAYS.items():
        if name in request.arrays and name in computed:
            array = computed[name].view()
            chosen = picked.get(spec.axes[0])
            if chosen is not None and chosen != list(range(len(array))):
                array = array[chosen]
            array.flags.writeable = False
            arrays[name] = array
    return Attention(
        stack=block.stack,
        kind=block.kind,
        layer=block.layer,
        heads=request.heads,
        kv_heads=kv_heads,
        scale=scale,
        soft_cap=block.soft_cap,
        embedding=block.embedding,
        residual=block.residual,
        arrays=arrays,
        what_if=touched & frozenset(arrays),
        own_names=block.own_names,
    )


# --- what several families do before the block ---------------------------------------------------


def own_mask(width: int, queries: int, start: int) -> np.ndarray:
    """A decoder's mask for `queries` positions from `start`: causal, or a window if it has one."""
    keys = start + queries
    return window(queries, keys, width) if width else causal(queries, keys)


def turn(arrays: dict[str, np.ndarray], cosine: np.ndarray, sine: np.ndarray) -> None:
    """Rotates q and k in place of what they were, which becomes q_unrotated and k_unrotated."""
    for letter in "qk":
        arrays[f"{letter}_unrotated"] = arrays[letter]
        arrays[letter] = rotate(arrays[letter], cosine, sine)


def interleaved(
    x: np.ndarray, w_NM: np.ndarray, b_N: np.ndarray, heads: int
) -> dict[str, np.ndarray]:
    """q, k and v of one fused matrix whose rows are (head, q | k | v, width), and its parts.

    One product serves all three; everything is a view of it, or of the matrix.
    """
    product = linear(x, w_NM.T, b_N).reshape(len(x), heads, 3, -1)
    matrix = w_NM.reshape(heads, 3, -1, w_NM.shape[-1])
    arrays = {}
    for i, letter in enumerate("qkv"):
        arrays[letter] = product[:, :, i].swapaxes(0, 1)
        arrays[f"w_{letter}"] = matrix[:, i].swapaxes(1, 2)
        if b_N.size:
            arrays[f"b_{letter}"] = b_N.reshape(heads, 3, -1)[:, i]
    return arrays

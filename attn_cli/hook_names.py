"""A trace's arrays under the names and axes that interpretability code already uses.

Names are TransformerLens's, without its batch axis; what it does not name keeps ours.
"""

from collections.abc import Mapping

import numpy as np

from attn_cli.records import Attention, Facts, Trace

_NAMES = {
    "q": "hook_q",
    "k": "hook_k",
    "v": "hook_v",
    "masked": "hook_attn_scores",
    "weights": "hook_pattern",
    "z": "hook_z",
    "head_output": "hook_result",
}
_ROTARY_NAMES = {
    "q": "hook_rot_q",
    "k": "hook_rot_k",
    "q_unrotated": "hook_q",
    "k_unrotated": "hook_k",
}
# Of a layer, not of its attention; cross-attention stands in the middle of its layer.
_OF_LAYER = {
    "self": {"x": "hook_resid_pre", "output": "hook_attn_out"},
    "cross": {"x": "hook_resid_mid", "output": "hook_cross_attn_out"},
}
_POSITION_FIRST = ("q", "k", "v", "q_unrotated", "k_unrotated", "z", "head_output")


def to_arrays(trace: Trace) -> dict[str, np.ndarray]:
    """Every array of the trace under its hook name, and the token ids as `tokens`."""
    arrays = {"tokens": np.array(trace.prompt.ids, np.int64)}
    for block in trace.attention:
        start = _places(trace.model, block)[1]
        arrays[f"{start}heads"] = np.array(block.heads, np.int64)
        arrays[f"{start}kv_heads"] = np.array(block.kv_heads, np.int64)
        for name, array in block.arrays.items():
            arrays[hook_name(trace.model, block, name)] = (
                array.swapaxes(0, 1) if name in _POSITION_FIRST else array
            )
    return arrays


def find(
    arrays: Mapping[str, np.ndarray], model: Facts, block: Attention, name: str
) -> np.ndarray | None:
    """One of our arrays in a file of hook names, with our axes; None if it is not there."""
    found = arrays.get(hook_name(model, block, name))
    if found is None:
        return None
    return found.swapaxes(0, 1) if name in _POSITION_FIRST and found.ndim == 3 else found


def heads_in(
    arrays: Mapping[str, np.ndarray], model: Facts, block: Attention, axis: str
) -> list[int]:
    """The heads (or kv_heads, as `axis` says) that a file holds of a block: all if it is silent."""
    kept = arrays.get(f"{_places(model, block)[1]}{axis}s")
    whole = block.heads if axis == "head" else block.kv_heads
    return list(whole) if kept is None else [int(n) for n in kept.ravel()]


def hook_name(model: Facts, block: Attention, name: str) -> str:
    """`blocks.0.attn.hook_pattern` for the weights of layer 0."""
    of_layer, of_attention = _places(model, block)
    # Where a norm follows, other tools mean by these names what stands before or after it.
    normed = {"output"} if model.residual == "normed" else set()
    normed |= {"q_unrotated", "k_unrotated"} if model.head_norm else set()
    if name in normed:
        return of_attention + name
    if name in _OF_LAYER[block.kind]:
        return of_layer + _OF_LAYER[block.kind][name]
    rotary = _ROTARY_NAMES if model.positions == "rotary" else {}
    return of_attention + rotary.get(name, _NAMES.get(name, name))


def _places(model: Facts, block: Attention) -> tuple[str, str]:
    """What names begin with: those of a layer, and those of its attention."""
    if not model.encoder:
        return f"blocks.{block.layer}.", f"blocks.{block.layer}.attn."
    layer = f"{block.stack}_blocks.{block.layer}."
    return layer, f"{layer}{_ATTENTION[block.stack, block.kind]}."


_ATTENTION = {
    ("encoder", "self"): "attn",
    ("decoder", "self"): "self_attn",
    ("decoder", "cross"): "cross_attn",
}

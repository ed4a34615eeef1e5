"""A trace's arrays under the names and axes that interpretability code already uses.

Names are TransformerLens's, without its batch axis; what it does not name keeps ours.
"""

from collections.abc import Mapping

import numpy as np

from attn_cli.records import Attention, Trace

_NAMES = {
    "x": "hook_resid_pre",
    "q": "attn.hook_q",
    "k": "attn.hook_k",
    "v": "attn.hook_v",
    "masked": "attn.hook_attn_scores",
    "weights": "attn.hook_pattern",
    "z": "attn.hook_z",
    "head_output": "attn.hook_result",
    "output": "hook_attn_out",
}
_ROTARY_NAMES = {
    "q": "attn.hook_rot_q",
    "k": "attn.hook_rot_k",
    "q_unrotated": "attn.hook_q",
    "k_unrotated": "attn.hook_k",
}
_POSITION_FIRST = ("q", "k", "v", "q_unrotated", "k_unrotated", "z", "head_output")


def to_arrays(trace: Trace) -> dict[str, np.ndarray]:
    """Every array of the trace under its exchange name, and the token ids as `tokens`."""
    arrays = {"tokens": np.array(trace.prompt.ids, np.int64)}
    for block in trace.attention:
        start = f"blocks.{block.layer}.attn."
        arrays[start + "heads"] = np.array(block.heads, np.int64)
        arrays[start + "kv_heads"] = np.array(block.kv_heads, np.int64)
        for name, array in block.arrays.items():
            arrays[exchange_name(block, name)] = (
                array.swapaxes(0, 1) if name in _POSITION_FIRST else array
            )
    return arrays


def find(arrays: Mapping[str, np.ndarray], block: Attention, name: str) -> np.ndarray | None:
    """One of our arrays in a file of exchange names, with our axes; None if it is not there."""
    found = arrays.get(exchange_name(block, name))
    if found is None:
        return None
    return found.swapaxes(0, 1) if name in _POSITION_FIRST and found.ndim == 3 else found


def heads_in(arrays: Mapping[str, np.ndarray], block: Attention, axis: str) -> list[int]:
    """The heads (or kv_heads, as `axis` says) that a file holds of a block: all if it is silent."""
    kept = arrays.get(f"blocks.{block.layer}.attn.{axis}s")
    whole = block.heads if axis == "head" else block.kv_heads
    return list(whole) if kept is None else [int(n) for n in kept.ravel()]


def exchange_name(block: Attention, name: str) -> str:
    """`blocks.0.attn.hook_pattern` for the weights of layer 0."""
    if name in block.own_names:
        own = ""
    elif "q_unrotated" in block.arrays or "q_unrotated" in block.own_names:
        own = _ROTARY_NAMES.get(name, _NAMES.get(name, ""))
    else:
        own = _NAMES.get(name, "")
    return f"blocks.{block.layer}.{own or f'attn.{name}'}"

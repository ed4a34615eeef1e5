"""A trace as a numpy archive under the names that interpretability code already uses.

Names and axes are TransformerLens's, without its batch axis; what it does not name keeps ours.
"""

import io

import numpy as np

from attn_cli.trace import Attention, Trace

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
_POSITION_FIRST = ("q", "k", "v", "z", "head_output")


def render(trace: Trace) -> bytes:
    """The archive's bytes, the same for the same trace. Token ids are `tokens`."""
    arrays = {"tokens": np.array(trace.prompt.ids, np.int64)}
    for block in trace.attention:
        arrays |= _block(block)
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def _block(block: Attention) -> dict[str, np.ndarray]:
    start = f"blocks.{block.layer}."
    found = {
        start + "attn.heads": np.array(block.heads, np.int64),
        start + "attn.kv_heads": np.array(block.kv_heads, np.int64),
    }
    for name, array in block.arrays.items():
        axes_as_there = array.swapaxes(0, 1) if name in _POSITION_FIRST else array
        found[start + _NAMES.get(name, f"attn.{name}")] = axes_as_there
    return found

"""A trace's arrays under the names and axes that interpretability code already uses.

Names are TransformerLens's, without its batch axis; what it does not name keeps ours.
"""

import re
from collections.abc import Iterable, Mapping

import numpy as np

from attn_cli.records import Address, Attention, Facts, Trace

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
# What has a name of its own where norms and positions of the model are not known.
UNSURE = {"q", "k", "q_unrotated", "k_unrotated", "output"}
# What may be left out of an axis.
_KEPT = {"head": "heads", "kv_head": "kv_heads", "query": "queries", "key": "keys"}
_POSITION_FIRST = ("q", "k", "v", "q_unrotated", "k_unrotated", "z", "head_output")


def to_arrays(trace: Trace) -> dict[str, np.ndarray]:
    """Every array of the trace under its hook name; ids as `tokens` and `target_tokens`."""
    arrays = {"tokens": np.array(trace.prompt.ids, np.int64)}
    if trace.prompt.target:
        arrays["target_tokens"] = np.array(trace.prompt.target.ids, np.int64)
    for block in trace.attention:
        start = _places(trace.model, block)[1]
        for kept in _KEPT.values():
            arrays[f"{start}{kept}"] = np.array(getattr(block, kept), np.int64)
        for name, array in block.arrays.items():
            arrays[hook_name(trace.model, block, name)] = (
                array.swapaxes(0, 1) if name in _POSITION_FIRST else array
            )
    for of in trace.experts:
        arrays[f"blocks.{of.layer}.mlp.hook_expert_indices"] = of.chosen
        arrays[f"blocks.{of.layer}.mlp.shares"] = of.shares
    return arrays


def find(
    arrays: Mapping[str, np.ndarray], model: Facts, block: Attention, name: str
) -> np.ndarray | None:
    """One of our arrays in a file of hook names, with our axes; None if it is not there."""
    found = arrays.get(hook_name(model, block, name))
    if found is None:
        return None
    return found.swapaxes(0, 1) if name in _POSITION_FIRST and found.ndim == 3 else found


def kept_in(
    arrays: Mapping[str, np.ndarray], model: Facts, block: Attention, axis: str
) -> list[int]:
    """What a file holds of one of a block's axes, heads or positions: all if it is silent."""
    name = _KEPT.get(axis, "")
    kept = arrays.get(f"{_places(model, block)[1]}{name}", getattr(block, name, ()))
    return [int(n) for n in np.ravel(kept)]


def hook_name(model: Facts, block: Attention | Address, name: str) -> str:
    """`blocks.0.attn.hook_pattern` for the weights of layer 0."""
    of_layer, of_attention = _places(model, block)
    # Where a norm or a factor follows, other tools mean by these names what stands before or after.
    follows = model.residual == "normed" or model.residual_factor != 1
    normed = {"output"} if follows else set()
    if model.head_norm:
        rotates_after = model.head_norm != "rotated" and model.rotates(block.layer)
        normed |= {"q_unrotated", "k_unrotated"} if rotates_after else {"q", "k"}
    normed |= UNSURE if model.partial else set()
    if name in normed:
        return of_attention + name
    if name in _OF_LAYER[block.kind]:
        return of_layer + _OF_LAYER[block.kind][name]
    rotary = _ROTARY_NAMES if model.rotates(block.layer) else {}
    return of_attention + rotary.get(name, _NAMES.get(name, name))


def names_of(model: Facts, arrays: Iterable[str]) -> tuple[set[str], set[str]]:
    """The names that these arrays have in all blocks of a model, and those of what is kept of them:
    of tokens, heads and positions."""
    names, kept = set[str](), {"tokens", "target_tokens"}
    for stack, kind in model.attentions:
        for layer in range(model.layers_of(stack)):
            block = Address(stack, kind, layer)
            names |= {hook_name(model, block, name) for name in arrays}
            kept |= {_places(model, block)[1] + axis for axis in _KEPT.values()}
    return names, kept


# What interpretability code and our own archives keep beside.
_BESIDE = re.compile(
    r"attn\.(document|logits)|source|hook_(embed|pos_embed|token_type_embed|tokens)|ln_final\.\w+"
    r"|(encoder_|decoder_)?blocks\.(?P<layer>[0-9]{1,5})\.(hook_(resid_pre|resid_mid|resid_post"
    r"|mlp_in|mlp_out|attn_in|attn_out|cross_attn_out|[qkv]_input|normalized_resid_pre"
    r"|normalized_resid_post)|ln[123](_post)?\.hook_(scale|normalized)"
    r"|mlp\.(shares|hook_(pre|pre_linear|post|expert_indices|expert_weights|gate|experts))"
    r"|(attn|self_attn|cross_attn)\.hook_(q|k|v|z|attn_scores|pattern|result|rot_q|rot_k))"
)


def is_beside(model: Facts, name: str) -> bool:
    """Whether a name is one that such code gives to something else of a model of these layers."""
    found = _BESIDE.fullmatch(name)
    most = max(map(model.layers_of, dict(model.attentions)))
    return found is not None and int(found["layer"] or 0) < most


def _places(model: Facts, block: Attention | Address) -> tuple[str, str]:
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

"""What each tensor is for, known from its name: who counts a model's parts asks here."""

import re
from typing import NamedTuple

from attn_cli.model.tensors import OUTPUT
from attn_cli.records import Address, Facts

PROJECTIONS = ("query", "key", "value", "attention_output")
# Those of an attention, with the maps to latents and to what all keys share, which rotates.
ATTENTION = (
    "query_latent", "query", "kv_latent", "key", "key_rotated", "value", "attention_output",
    "sinks",
)  # fmt: skip
# Matrices side by side: query, key and value; what leads to the latent of keys and values, then
# what leads to the rotated part of keys; and what makes of that latent a head's key and its value.
FUSED, TO_LATENT, FROM_LATENT = "fused", "to_latent", "from_latent"
# Networks of which each token passes a few.
EXPERTS = "experts"
# The parts of a model, in the order in which a text passes them.
PARTS = (
    "embedding", "positions", "types", *ATTENTION, "feed_forward", "router", "shared_experts",
    EXPERTS, "biases", "norms", "output", "other",
)  # fmt: skip


def _called(*names: str) -> str:
    """What finds a module by the last part of its name."""
    return rf"(^|\.)({'|'.join(names)})$"


# What the name of a tensor's module says of it; the first that does.
_NAMES = {
    "norms": r"(?i:norm)(_embedding|_\d|_f)?$|norms\.\d+$|" + _called(r"ln_\w+"),
    "sinks": _called("sinks"),
    "output": r"^(lm_head|lm_predictions|generator_\w+|cls|predictions|head)(\.|$)"
    "|" + _called(r"vocab_\w+", "final_logits_bias", "project_out"),
    "positions": _called(
        "wpe", "embed_positions", "position_embeddings", r"pos_\w+_proj", "rel_embeddings",
        "relative_attention_bias",
    ),
    "types": _called("token_type_embeddings"),
    FUSED: _called("c_attn", "query_key_value", "qkv_proj", "Wqkv"),
    TO_LATENT: _called("kv_a_proj_with_mqa"),
    FROM_LATENT: _called("kv_b_proj"),
    "query_latent": _called("q_a_proj"),
    "query": _called("q", "q_proj", "q_b_proj", "q_lin", "query", "query_proj"),
    "key": _called("k", "k_proj", "k_b_proj", "k_lin", "key", "key_proj"),
    "value": _called("v", "v_proj", "v_b_proj", "v_lin", "value", "value_proj"),
    EXPERTS: r"\.experts\.\d+\.",
    "shared_experts": r"\.shared_experts?\.",
    "router": _called("gate", "router", "shared_expert_gate", "e_score_correction_bias"),
    "feed_forward": r"\.(mlp|ffn|DenseReluDense|intermediate)\.|(?<!attention)\.output\.dense$|"
    + _called("fc1", "fc2", "ffn", "ffn_output"),
    "attention_output": r"\.(attention|self_attention|attn)\.|"
    + r"(?<!\.conv)" + _called("o", "o_proj", "out_proj", r"self_attn\.dense"),
}  # fmt: skip


class Place(NamedTuple):
    """The part that a tensor belongs to, in which stack and kind of attention, and layer.

    `layer` is −1 outside of the layers; `kind` is `cross` for what only cross-attention has.
    """

    part: str
    stack: str
    kind: str
    layer: int

    @property
    def address(self) -> Address:
        """Which attention it is part of, in a layer."""
        return Address(self.stack, self.kind, self.layer)


def place_of(name: str, facts: Facts, embedding: str) -> Place:
    """Where a tensor of the family's name `name` belongs; `embedding` is the tokens' matrix."""
    module, _, kind = name.rpartition(".")
    number = re.search(r"\.(\d+)\.", name)
    if name in (embedding, OUTPUT):
        part = "embedding" if name == embedding else "output"
    else:
        called = module if kind in ("weight", "bias") else name
        found = (p for p, pattern in _NAMES.items() if re.search(pattern, called))
        part = next(found, "other")
    if kind == "bias" and number and part not in ("norms", "positions"):
        part = "biases"
    return Place(
        part=part,
        stack="encoder" if facts.encoder and name.startswith("encoder.") else facts.stack,
        kind="cross" if re.search(r"\.(EncDecAttention|encoder_attn)\.", name) else "self",
        layer=int(number[1]) if number else -1,
    )

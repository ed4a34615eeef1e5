"""Qwen2 as a mixture of experts: one more network that every token passes. Qwen team 2024.

How much of that network's output counts, a sigmoid of the token's own says. Some layers may have a
single network.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from attn_cli.families import llama, mixtures
from attn_cli.maths.layers import sigmoid
from attn_cli.maths.products import gated_feed_forward
from attn_cli.model import experts
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.config import ConfigReader
from attn_cli.model.gguf import named
from attn_cli.model.stack import Stack
from attn_cli.model.tensors import MOST_LAYERS, Shapes
from attn_cli.model.weights import LayerWeights, linear
from attn_cli.records import Facts

_SHARED = "mlp.shared_expert."


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(mixtures.Config):
    """The numbers of a Qwen2 mixture: the network that every token passes has `shared_width`."""

    shared_width: int


def read_config(reader: ConfigReader) -> Config:
    reader = reader.with_defaults({"num_key_value_heads": 16})
    shared = llama.common(reader)
    config = Config(
        **shared,
        **mixtures.sparse(reader, shared, defaults=(60, 4), width=1408),
        qkv_bias=reader.flag("qkv_bias", True),
        shared_width=reader.integer("shared_expert_intermediate_size", 5632),
        windows=_windows(reader, shared["layers"]),
    )
    reader.finish(mixtures.HARMLESS)
    return config


def _windows(reader: ConfigReader, layers: int) -> tuple[int, ...]:
    """Every second layer below `max_window_layers` has the window, or as `layer_types` says."""
    used = reader.flag("use_sliding_window", False)
    width = llama.window_width(reader, used=used)
    first = reader.integer("max_window_layers", 28, low=0)
    if used and width is None:  # the reference makes the mask, whatever layers there are
        raise reader.error("sliding_window is null, and use_sliding_window is true")
    slides = [used and layer % 2 == 0 and layer < first for layer in range(layers)]
    return llama.windows_as_named(reader, width, slides, used=used)


def shapes(config: Config) -> Shapes:
    found, width = mixtures.shapes(config), config.model_width
    for layer in config.sparse:
        place = f"layers.{layer}."
        found |= experts.gated_shapes(f"{place}{_SHARED}", width, config.shared_width)
        found[f"{place}mlp.shared_expert_gate.weight"] = (1, width)
    return found


def describe(facts: Facts, config: Config) -> Facts:
    return replace(mixtures.describe(facts, config), experts=(config.experts, config.used, 1))


def fed(config: Config, stack: Stack, parts: LayerWeights, normed: np.ndarray) -> np.ndarray:
    """What the chosen experts give, and the shared one by its own share."""
    given = mixtures.fed(config, stack, parts, normed)
    if stack.layer not in config.sparse:
        return given
    maps = (parts.map(f"{_SHARED}{name}_proj") for name in ("gate", "up", "down"))
    shared = gated_feed_forward(normed, *maps, ACTIVATIONS[config.activation])
    return given + sigmoid(linear(parts, "mlp.shared_expert_gate", normed)) * shared


# --- the same model in a GGUF file ---------------------------------------------------------------


def say(
    reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any], *, normalised: bool
) -> None:
    """What the files leave out, as llama.cpp has it (src/models/NAME.cpp)."""
    mixtures.say(reader, values, tensors)
    values.setdefault("norm_topk_prob", normalised)
    inner, used = reader.integer("intermediate_size"), reader.integer("num_experts_per_tok")
    values.setdefault("moe_intermediate_size", max(1, inner // used))
    layers = range(reader.integer("num_hidden_layers", high=MOST_LAYERS))
    router = "blk.{}.ffn_gate_inp.weight"
    values["mlp_only_layers"] = [n for n in layers if router.format(n) not in tensors]


def _say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    say(reader, values, tensors, normalised=False)
    values.setdefault("shared_expert_intermediate_size", reader.integer("intermediate_size"))
    values["qkv_bias"] = "blk.0.attn_q.bias" in tensors


KEYS = {
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_weights_norm": "norm_topk_prob",
    "norm_top_k_prob": "norm_topk_prob",  # of Ollama's converter
}
_SHARED_KEY = {"expert_shared_feed_forward_length": "shared_expert_intermediate_size"}
_SHARED_TENSORS = {
    "layers.*.mlp.shared_expert_gate": "blk.*.ffn_gate_inp_shexp",
    "layers.*.mlp.shared_expert.gate_proj": "blk.*.ffn_gate_shexp",
    "layers.*.mlp.shared_expert.up_proj": "blk.*.ffn_up_shexp",
    "layers.*.mlp.shared_expert.down_proj": "blk.*.ffn_down_shexp",
}
FAMILY = replace(
    mixtures.FAMILY,
    read_config=read_config,
    shapes=shapes,
    describe=describe,
    forward=partial(llama.forward, fed=fed),
    gguf=replace(
        mixtures.GGUF,
        keys=mixtures.GGUF.keys | KEYS | _SHARED_KEY,
        tensors=mixtures.GGUF.tensors | named(_SHARED_TENSORS, "weight"),
        say=_say,
    ),
)

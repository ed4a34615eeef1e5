"""Phi-3 and Phi-4: Llama with fused projections; a part of a head may rotate. Abdin et al. 2024.

`qkv_proj` holds the rows of W_Q, then W_K, then W_V; `gate_up_proj` those of the gate, then of up.
"""

from dataclasses import replace
from functools import partial

import numpy as np

from attn_cli.families import llama, llama_gguf
from attn_cli.families.llama import Config, sizes
from attn_cli.maths.products import gated_feed_forward
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.config import ConfigReader
from attn_cli.model.project import Arrays, fused
from attn_cli.model.rope import rope_section, rotated_width, scaled_rope
from attn_cli.model.tensors import Shapes
from attn_cli.model.weights import LayerWeights

# Two of these are of Phi-4-mini's own code.
_HARMLESS = frozenset(
    """
    attention_dropout embd_pdrop full_attn_mod initializer_range interpolate_factor resid_pdrop
    """.split()
)
# The reference's class has this length where config.json has none, and one name for three.
_DEFAULTS = {"original_max_position_embeddings": 4096}
_SCALINGS = ("default", "longrope")
_ALIASES = dict.fromkeys(("su", "yarn"), "longrope")


def read_config(reader: ConfigReader) -> Config:
    reader = reader.with_defaults(_DEFAULTS)
    shared = sizes(reader)
    section = rope_section(reader, _ALIASES)
    section.choice("rope_type", _SCALINGS, section.choice("type", _SCALINGS, "default"))
    width = rotated_width(section, reader, "partial_rotary_factor", 1.0, shared["head_width"])
    base = section.positive("rope_theta", reader.positive("rope_theta", 10000.0))
    window = reader.integer("sliding_window", 0, low=0)
    config = Config(
        **{**shared, "epsilon": reader.positive("rms_norm_eps", 1e-5)},
        rope=scaled_rope(section, reader, base, width, shared["context"]),
        windows=(window,) * shared["layers"],
    )
    for key in ("attention_bias", "mlp_bias", "lm_head_bias"):
        reader.only(key, False)
    reader.finish(_HARMLESS)
    return config


def shapes(config: Config) -> Shapes:
    """The name and shape of every tensor: Llama's, those that are fused in place of their parts."""
    parts = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")
    found = {
        name: shape
        for name, shape in llama.shapes(config).items()
        if name.split(".")[-2] not in parts
    }
    rows = (config.heads + 2 * config.kv_heads) * config.head_width
    return found | {
        "layers.*.self_attn.qkv_proj.weight": (rows, config.model_width),
        "layers.*.mlp.gate_up_proj.weight": (2 * config.inner_width, config.model_width),
    }


def project(config: Config, parts: LayerWeights, normed: np.ndarray) -> Arrays:
    """q, k and v before rotation, of one matrix."""
    heads = {"q": config.heads, "k": config.kv_heads, "v": config.kv_heads}
    return fused(normed, parts.map("self_attn.qkv_proj"), **heads)


def fused_mlp(config: Config, parts: LayerWeights, normed: np.ndarray) -> np.ndarray:
    """A gated network whose first two maps are the halves of one."""
    maps = *parts.map("mlp.gate_up_proj").halves, parts.map("mlp.down_proj")
    return gated_feed_forward(normed, *maps, ACTIVATIONS[config.activation])


_FUSED = {
    "layers.*.self_attn.qkv_proj.weight": "blk.*.attn_qkv.weight",
    "layers.*.mlp.gate_up_proj.weight": "blk.*.ffn_up.weight",
}

FAMILY = replace(
    llama.FAMILY,
    read_config=read_config,
    shapes=shapes,
    forward=partial(
        llama.forward,
        turned=partial(llama.turned, projected=project),
        fed=partial(llama.fed, network=fused_mlp),
    ),
    gguf=replace(
        llama_gguf.GGUF,
        tensors={n: t for n, t in llama_gguf.GGUF.tensors.items() if t not in _FUSED.values()}
        | _FUSED,
        say=partial(llama_gguf.say, partial=True),
    ),
)

"""GLM-4: Llama with a fused MLP; a part of each head rotates, neighbours together. 2024."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from attn_cli.families import llama, llama_gguf, phi3
from attn_cli.model.config import ConfigReader
from attn_cli.model.project import Arrays
from attn_cli.model.rope import rope_section, rotated_width, scaled_rope
from attn_cli.model.tensors import Shapes, maps
from attn_cli.model.weights import LayerWeights

_DEFAULTS = {"num_key_value_heads": 2, "rms_norm_eps": 1.5625e-7}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(llama.Config):
    """The numbers of a GLM model. `fused`: one matrix makes q, k and v, as in some GGUF files."""

    fused: bool = False


def read_config(reader: ConfigReader) -> Config:
    reader = reader.with_defaults(_DEFAULTS)
    shared, section = llama.sizes(reader, head_dim=128), rope_section(reader)
    width = rotated_width(section, reader, "partial_rotary_factor", 0.5, shared["head_width"])
    base = section.positive("rope_theta", reader.positive("rope_theta", 10000.0))
    rope = scaled_rope(section, reader, base, width, shared["context"])
    config = Config(
        **shared,
        qkv_bias=reader.flag("attention_bias", True),
        windows=(0,) * shared["layers"],
        rope=replace(rope, interleaved=True),
    )
    reader.finish(llama.HARMLESS)
    return config


def shapes(config: Config) -> Shapes:
    """The name and shape of every tensor: Llama's, those that are fused in place of their parts."""
    width = config.model_width
    found = {
        name: shape
        for name, shape in llama.shapes(config).items()
        if name.split(".")[-2] not in ("gate_proj", "up_proj")
        and not (config.fused and name.split(".")[-2] in ("q_proj", "k_proj", "v_proj"))
    }
    rows = (config.heads + 2 * config.kv_heads) * config.head_width
    if config.fused:
        found |= maps({"layers.*.self_attn.qkv_proj": (rows, width)}, biased=config.qkv_bias)
    return found | {"layers.*.mlp.gate_up_proj.weight": (2 * config.inner_width, width)}


def project(config: Config, parts: LayerWeights, normed: np.ndarray) -> Arrays:
    """q, k and v before rotation, of one matrix or of three."""
    if not config.fused:
        return llama.project(config, parts, normed)
    return phi3.project(config, parts, normed)


def _finish(config: Config, reader: ConfigReader, tensors: Mapping[str, Any]) -> Config:
    config = llama_gguf.finish(config, reader, tensors)
    whole, biases = "blk.0.attn_qkv.weight", ("blk.0.attn_q.bias", "blk.0.attn_qkv.bias")
    return replace(config, fused=whole in tensors, qkv_bias=any(name in tensors for name in biases))


_BIAS = {"layers.*.self_attn.qkv_proj.bias": "blk.*.attn_qkv.bias"}
GGUF = replace(phi3.FAMILY.gguf, tensors=phi3.FAMILY.gguf.tensors | _BIAS, finish=_finish)

FAMILY = replace(
    phi3.FAMILY,
    read_config=read_config,
    shapes=shapes,
    forward=partial(phi3.FAMILY.forward, turned=partial(llama.turned, projected=project)),
    gguf=GGUF,
)

"""OLMoE: many small experts, and norms over the queries and keys of all heads. Muennighoff 2024."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from attn_cli.families import llama, mixtures, olmo, olmo2
from attn_cli.model.config import ConfigReader
from attn_cli.model.project import Arrays
from attn_cli.model.tensors import Shapes
from attn_cli.model.weights import LayerWeights
from attn_cli.records import Facts

_DEFAULTS = {"rms_norm_eps": 1e-5}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(mixtures.Config):
    """The numbers of an OLMoE model. q, k and v stay between −`clip` and `clip`; 0 is no limit."""

    clip: float


def read_config(reader: ConfigReader) -> Config:
    reader = reader.with_defaults(_DEFAULTS)
    reader.take("num_experts", "num_local_experts")
    shared, bias = llama.common(reader), reader.flag("attention_bias", False)
    config = Config(
        **shared,
        **mixtures.everywhere(reader, shared, "num_experts", (64, 8)),
        normalised=reader.flag("norm_topk_prob", False),
        qkv_bias=bias,
        output_bias=bias,
        clip=reader.cap("clip_qkv"),
        windows=(0,) * shared["layers"],
    )
    reader.finish(mixtures.HARMLESS)
    return config


def shapes(config: Config) -> Shapes:
    return mixtures.shapes(config) | olmo2.whole_norms(config)


def describe(facts: Facts, config: Config) -> Facts:
    return replace(mixtures.describe(facts, config), head_norm="all", clipped=config.clip)


def projected(config: Config, parts: LayerWeights, normed: np.ndarray) -> Arrays:
    """q, k and v before rotation: normalised over all heads at once, then clipped."""
    return olmo.clipped(olmo2.project(config, parts, normed), config.clip)


def _say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    """Its files do not say that shares keep the sum that a softmax gives them."""
    mixtures.say(reader, values, tensors)
    values.setdefault("norm_topk_prob", False)
    values["clip_qkv"] = values.get("clip_qkv") or None  # 0 is none


FAMILY = replace(
    mixtures.FAMILY,
    read_config=read_config,
    shapes=shapes,
    describe=describe,
    forward=partial(mixtures.FAMILY.forward, turned=partial(llama.turned, projected=projected)),
    gguf=replace(
        mixtures.GGUF,
        keys=mixtures.GGUF.keys
        | {"attention.clamp_kqv": "clip_qkv", "expert_weights_norm": "norm_topk_prob"},
        say=_say,
    ),
)

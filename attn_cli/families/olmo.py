"""OLMo: Llama with layer norms that have no weights, and clipped q, k and v.

Groeneveld et al. 2024.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attn_cli.families import llama, llama_gguf
from attn_cli.families.llama import gated_mlp, project
from attn_cli.maths.layers import standardise
from attn_cli.model.cache import Cache, Ids, Pass
from attn_cli.model.config import ConfigReader
from attn_cli.model.family import Model
from attn_cli.model.project import Arrays
from attn_cli.model.rope import rotated
from attn_cli.model.stack import Request, Stack, causal_or_window
from attn_cli.model.tensors import Shapes
from attn_cli.model.weights import LayerWeights
from attn_cli.records import Facts

_EPSILON = 1e-5  # the reference's own, which no config changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(llama.Config):
    """The numbers of an OLMo model. q, k and v stay between −`clip` and `clip`; 0 is no limit."""

    clip: float


def read_config(reader: ConfigReader) -> Config:
    shared, bias = llama.common(reader, epsilon=""), reader.flag("attention_bias", False)
    config = Config(
        **{**shared, "epsilon": _EPSILON},
        qkv_bias=bias,
        output_bias=bias,
        windows=(0,) * shared["layers"],
        clip=reader.cap("clip_qkv"),
    )
    reader.finish(llama.HARMLESS)
    return config


def shapes(config: Config) -> Shapes:
    """The name and shape of every tensor: Llama's, without norms."""
    return {n: s for n, s in llama.shapes(config).items() if "norm" not in n}


def describe(facts: Facts, config: Config) -> Facts:
    found = llama.describe(facts, config)
    return replace(found, norm="layer", affine=False, norm_bias=False, clipped=config.clip)


def forward(model: Model, ids: Ids, request: Request, cache: Cache | None = None) -> Pass:
    config, rope = model.config, model.config.rope
    stack = Stack(model, ids, request, cache, restart_beyond=rope.limit)
    x = model.weights.rows("embed_tokens.weight", stack.ids)
    angles = stack.angles(rope)
    for parts in stack.layers("layers."):
        normed = final(model, x)
        output = yield from stack.attend(
            {"x": x, "normed": normed, **rotated(_clipped(config, parts, normed), angles)},
            visible=causal_or_window(config.windows[stack.layer]),
            out=parts.map("self_attn.o_proj"),
        )
        x = x + output
        x = yield from stack.after(x + stack.mlp(gated_mlp(config, parts, final(model, x))))
    return stack.end(x)


def final(model: Model, x: np.ndarray) -> np.ndarray:
    """The norm, which is the same everywhere."""
    return standardise(x, model.config.epsilon)[0]


def _clipped(config: Config, parts: LayerWeights, normed: np.ndarray) -> Arrays:
    return clipped(project(config, parts, normed), config.clip)


def clipped(arrays: Arrays, limit: float) -> Arrays:
    """The same with q, k and v kept between −limit and limit, in place; 0 is none."""
    for letter in "qkv" if limit else "":
        np.clip(arrays[letter], -limit, limit, out=arrays[letter])
    return arrays


# --- the same model in a GGUF file ---------------------------------------------------------------


def _say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    llama_gguf.say(reader, values, tensors)
    values.pop("layer_norm_eps")
    values["clip_qkv"] = values.get("clip_qkv") or None  # 0 is none


def _finish(config: Config, reader: ConfigReader, tensors: Mapping[str, Any]) -> Config:
    config = llama_gguf.finish(config, reader, tensors)
    return replace(config, epsilon=reader.positive("layer_norm_eps"))


FAMILY = replace(
    llama.FAMILY,
    read_config=read_config,
    shapes=shapes,
    describe=describe,
    forward=forward,
    final=final,
    gguf=replace(
        llama_gguf.GGUF,
        keys=llama_gguf.layer_normed(llama_gguf.GGUF.keys) | {"attention.clamp_kqv": "clip_qkv"},
        say=_say,
        finish=_finish,
        arrange=llama_gguf.unpaired_rows,
    ),
)

"""Cohere's Command R: attention and MLP side by side after one layer norm without bias. 2024.

Neighbouring dimensions rotate together. Logits are scaled.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attn_cli.families import llama, llama_gguf
from attn_cli.families.llama import gated_mlp, project
from attn_cli.maths.layers import layer_norm
from attn_cli.maths.products import NOTHING
from attn_cli.model.cache import Cache, Ids, Pass
from attn_cli.model.config import ConfigReader
from attn_cli.model.family import Model
from attn_cli.model.project import Arrays
from attn_cli.model.stack import Request, Stack, causal_or_window
from attn_cli.model.tensors import Shapes
from attn_cli.model.weights import LayerWeights, entering, layer_normed
from attn_cli.records import Facts

SCALE = {"logit_scale": "logit_scale"}  # GGUF's key of it, and config.json's
DEFAULTS = {"layer_norm_eps": 1e-5, "tie_word_embeddings": True, "rope_theta": 500_000.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(llama.Config):
    """The numbers of a Cohere model. `qk_norm`: a layer norm on every query and key."""

    qk_norm: bool = False
    logit_scale: float


def read_config(reader: ConfigReader) -> Config:
    reader = reader.with_defaults(DEFAULTS)
    shared = cohere_sizes(reader)
    config = Config(
        **shared, windows=(0,) * shared["layers"], qk_norm=reader.flag("use_qk_norm", False)
    )
    reader.finish(llama.HARMLESS)
    return config


def cohere_sizes(reader: ConfigReader) -> dict[str, Any]:
    """The fields of `Config` that every Cohere model has."""
    found = llama.common(reader, epsilon="layer_norm_eps")
    bias = reader.flag("attention_bias", False)
    return found | {
        "rope": replace(found["rope"], interleaved=True),
        "qkv_bias": bias,
        "output_bias": bias,
        "logit_scale": reader.number("logit_scale", 0.0625),
    }


def shapes(config: Config) -> Shapes:
    """The name and shape of every tensor: Llama's, with one norm in a layer."""
    found = llama.shapes(config)
    del found["layers.*.post_attention_layernorm.weight"]
    for letter, heads in (("q", config.heads), ("k", config.kv_heads)) * config.qk_norm:
        found[f"layers.*.self_attn.{letter}_norm.weight"] = (heads, config.head_width)
    return found


def describe(facts: Facts, config: Config) -> Facts:
    return replace(
        llama.describe(facts, config),
        norm="layer",
        norm_bias=False,
        head_norm="each" if config.qk_norm else "",
        parallel=True,
        shared_norm=True,
        logit_scale=config.logit_scale,
    )


def forward(model: Model, ids: Ids, request: Request, cache: Cache | None = None) -> Pass:
    config, rope = model.config, model.config.rope
    stack = Stack(model, ids, request, cache, restart_beyond=rope.limit)
    x = model.weights.rows("embed_tokens.weight", stack.ids)
    angles = stack.angles(rope)
    for parts in stack.layers("layers."):
        entry = entering(parts, "input_layernorm", x, config.epsilon)
        output = yield from stack.attend(
            {**entry, **stack.rotated(_project(config, parts, entry["normed"]), angles)},
            visible=causal_or_window(config.windows[stack.layer]),
            out=parts.map("self_attn.o_proj"),
        )
        inner = stack.mlp(gated_mlp(config, parts, entry["normed"]))
        x = yield from stack.after(x + output + inner)
    return stack.end(x)


def final(model: Model, x: np.ndarray) -> np.ndarray:
    return layer_normed(model.weights, "norm", x, model.config.epsilon)


def _project(config: Config, parts: LayerWeights, normed: np.ndarray) -> Arrays:
    arrays = project(config, parts, normed)
    for letter in "qk" if config.qk_norm else "":
        weight = parts[f"self_attn.{letter}_norm.weight"][:, None]
        arrays[letter] = layer_norm(arrays[letter], weight, NOTHING, config.epsilon)
    return arrays


def _finish(config: Config, reader: ConfigReader, tensors: Mapping[str, Any]) -> Config:
    config = llama_gguf.finish(config, reader, tensors)
    return replace(config, qk_norm="blk.0.attn_q_norm.weight" in tensors)


FAMILY = replace(
    llama.FAMILY,
    read_config=read_config,
    shapes=shapes,
    describe=describe,
    forward=forward,
    final=final,
    gguf=replace(
        llama_gguf.GGUF,
        keys=llama_gguf.layer_normed(llama_gguf.GGUF.keys) | SCALE,
        # Ollama's converter says the context twice.
        harmless=llama_gguf.GGUF.harmless | {"max_position_embeddings"},
        required=("logit_scale",),
        finish=_finish,
    ),
)

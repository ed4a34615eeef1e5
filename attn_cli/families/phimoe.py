"""Phi-3.5-MoE: Mixtral with layer norms, biases, and a router of its own. Abdin et al. 2024."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from attn_cli.families import llama, mixtral, mixtures, phimoe_gguf
from attn_cli.families.llama import project
from attn_cli.maths.experts import Routing, one_after_another
from attn_cli.model.cache import Cache, Ids, Pass
from attn_cli.model.config import ConfigReader
from attn_cli.model.family import Model
from attn_cli.model.rope import Rope, rope_of_whole_heads, rope_section, rotated
from attn_cli.model.stack import Request, Stack, causal_or_window
from attn_cli.model.tensors import Naming, Shapes, norms
from attn_cli.model.weights import entering, layer_normed
from attn_cli.records import Facts

# The noise is of training; the router takes two, whatever the config says.
_HARMLESS = mixtures.HARMLESS | {"input_jitter_noise"}
_USED = 2
_OUTPUT_BIAS = "lm_head.bias"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(mixtures.Config):
    """The numbers of a PhiMoE model. Experts that are further below the best than `near` of it
    have no share; `logit_bias`: the output matrix has a bias."""

    near: float
    logit_bias: bool


def read_config(reader: ConfigReader) -> Config:
    reader = reader.with_defaults(mixtral.DEFAULTS)
    shared = llama.sizes(reader)
    bias, layers = reader.flag("attention_bias", False), shared["layers"]
    networks = mixtures.everywhere(reader, shared, "num_local_experts", (16, _USED))
    if networks["experts"] < _USED:
        count = networks["experts"]
        raise reader.error(f"num_local_experts is {count}, and the router takes {_USED}")
    noise = reader.number("router_jitter_noise", 0.01)
    if noise < 0:
        raise reader.error(f"router_jitter_noise {noise:g} is below 0")
    config = Config(
        **shared,
        **{**networks, "used": _USED},
        qkv_bias=bias,
        output_bias=bias,
        logit_bias=reader.flag("lm_head_bias", False),
        near=2 * noise,
        windows=mixtral.one_window(reader, layers),
        rope=_rope(reader, shared),
    )
    reader.finish(_HARMLESS)
    return config


def _rope(reader: ConfigReader, shared: Mapping[str, Any]) -> Rope:
    """The frequencies for short texts serve all; those who scale say by how much they lengthen."""
    section = rope_section(reader, {"su": "longrope"})
    kinds = ("default", "longrope")
    kind = section.choice("rope_type", kinds, section.choice("type", kinds, "default"))
    scaled = kind != "default"
    factors = [section.number(f"{text}_mscale") for text in ("short", "long") if scaled]
    base = section.positive("rope_theta", reader.positive("rope_theta"))
    rope = rope_of_whole_heads(section, reader, base, shared["head_width"], shared["context"])
    if not scaled:
        return rope
    short, long = factors
    if short == long:
        return replace(rope, attention_factor=short, long_frequencies=(), limit=0)
    beyond = {"long_frequencies": rope.frequencies, "long_attention_factor": long}
    return replace(rope, attention_factor=short, **beyond)


def shapes(config: Config) -> Shapes:
    before = ("layers.*.input_layernorm", "layers.*.post_attention_layernorm")
    found = mixtures.shapes(config) | norms(config.model_width, *before, "norm")
    return found | ({_OUTPUT_BIAS: (config.vocabulary,)} if config.logit_bias else {})


def naming(config: Config) -> Naming:
    """The router has a name of its own today."""
    found = mixtral.naming(config)
    router = {f"layers.{n}.mlp.router.weight": f"layers.{n}.mlp.gate.weight" for n in config.sparse}
    return found._replace(older={**found.older, **router})


def describe(facts: Facts, config: Config) -> Facts:
    factor = config.rope.long_attention_factor
    longer = config.rope.limit, 1.0 if factor is None else factor
    return replace(mixtures.describe(facts, config), norm="layer", longer=longer)


def routed(config: Config, scores: np.ndarray) -> Routing:
    """Two experts, by the one way that there is here."""
    return one_after_another(scores, _USED, config.near)


_fed = partial(mixtures.fed, routed=routed)


def forward(model: Model, ids: Ids, request: Request, cache: Cache | None = None) -> Pass:
    config, epsilon = model.config, model.config.epsilon
    stack = Stack(model, ids, request, cache, restart_beyond=config.rope.limit)
    x = model.weights.rows("embed_tokens.weight", stack.ids)
    angles = stack.angles(config.rope)
    for parts in stack.layers("layers."):
        entry = entering(parts, "input_layernorm", x, epsilon)
        output = yield from stack.attend(
            {**entry, **rotated(project(config, parts, entry["normed"]), angles)},
            visible=causal_or_window(config.windows[stack.layer]),
            out=parts.map("self_attn.o_proj"),
        )
        x = x + output
        normed = layer_normed(parts, "post_attention_layernorm", x, epsilon)
        x = yield from stack.after(x + stack.mlp(_fed(config, stack, parts, normed)))
    return stack.end(x)


def final(model: Model, x: np.ndarray) -> np.ndarray:
    return layer_normed(model.weights, "norm", x, model.config.epsilon)


FAMILY = replace(
    mixtures.FAMILY,
    read_config=read_config,
    shapes=shapes,
    naming=naming,
    describe=describe,
    forward=forward,
    final=final,
    output_bias=_OUTPUT_BIAS,
    gguf=phimoe_gguf.GGUF,
)

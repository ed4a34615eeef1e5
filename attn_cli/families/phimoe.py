"""Phi-3.5-MoE: Mixtral with layer norms, biases, and a router of its own. Abdin et al. 2024.

The router takes the best expert, then the best of the others. Each has its share of a softmax over
those that come close to it: Liu et al. 2024, "GRIN: GRadient-INformed MoE", SparseMixer-v2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from attn_cli.families import llama, mixtral, mixtures
from attn_cli.families.llama import project
from attn_cli.maths.attention import softmax
from attn_cli.maths.experts import Routing, taken
from attn_cli.model import experts
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
    count, _ = experts.counts(
        reader, "num_local_experts", "num_experts_per_tok", (16, _USED), layers
    )
    if count < _USED:
        raise reader.error(f"num_local_experts is {count}, and the router takes {_USED}")
    noise = reader.number("router_jitter_noise", 0.01)
    if noise < 0:
        raise reader.error(f"router_jitter_noise {noise:g} is below 0")
    config = Config(
        **shared,
        experts=count,
        used=_USED,
        expert_width=shared["inner_width"],
        sparse=tuple(range(layers)),
        qkv_bias=bias,
        output_bias=bias,
        logit_bias=reader.flag("lm_head_bias", False),
        near=2 * noise,
        windows=mixtures.one_window(reader, layers),
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
    rope = replace(rope, attention_factor=short, long_frequencies=rope.frequencies)
    return replace(rope, long_attention_factor=long)


def shapes(config: Config) -> Shapes:
    before = ("layers.*.input_layernorm", "layers.*.post_attention_layernorm")
    found = mixtures.shapes(config) | norms(config.model_width, *before, "norm")
    return found | ({_OUTPUT_BIAS: (config.vocabulary,)} if config.logit_bias else {})


def naming(config: Config) -> Naming:
    """The router has a name of its own today."""
    found = mixtures.naming_of_mixtral(config)
    router = {f"layers.{n}.mlp.router.weight": f"layers.{n}.mlp.gate.weight" for n in config.sparse}
    return found._replace(older={**found.older, **router})


def describe(facts: Facts, config: Config) -> Facts:
    return replace(mixtures.describe(facts, config), norm="layer")


def routed(config: Config, scores: np.ndarray) -> Routing:
    """The best expert of each token, and the best of the others, each among those near to it."""
    first, rest = scores.argmax(axis=-1)[:, None], scores.copy()
    np.put_along_axis(rest, first, -np.inf, axis=-1)
    second = rest.argmax(axis=-1)[:, None]
    shares = [_share(config, scores, scores, first), _share(config, scores, rest, second)]
    return Routing(np.concatenate([first, second], axis=-1), np.concatenate(shares, axis=-1))


def _share(config: Config, scores: np.ndarray, left: np.ndarray, best: np.ndarray) -> np.ndarray:
    """The share of the best of the scores that are left, (position, 1)."""
    top = taken(scores, best)
    far = (top - scores) / np.maximum(np.abs(scores), top) > scores.dtype.type(config.near)
    return taken(softmax(np.where(far, scores.dtype.type(-np.inf), left)), best)


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


# --- the same model in a GGUF file ---------------------------------------------------------------


def _say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    """Its files do not say how near experts must be, for which the class's number serves."""
    for name in ("rope_factors_short.weight", "rope_factors_long.weight"):
        if name in tensors:
            raise reader.error(
                f"the tensor {name} scales the rotation, and how much that lengthens is not there",
                "open the folder that the file was made from",
            )
    values.pop("original_max_position_embeddings", 0)
    mixtures.say(reader, values, tensors)
    values |= {
        "attention_bias": "blk.0.attn_q.bias" in tensors,
        "lm_head_bias": "output.bias" in tensors,
    }


FAMILY = replace(
    mixtures.FAMILY,
    read_config=read_config,
    shapes=shapes,
    naming=naming,
    describe=describe,
    forward=forward,
    final=final,
    output_bias=_OUTPUT_BIAS,
    gguf=replace(
        mixtures.GGUF, keys=mixtures.GGUF.keys | {"expert_count": "num_local_experts"}, say=_say
    ),
)

"""Gemma 2: Llama with soft caps, windows in every other layer, and norms on both sides.

Gemma Team 2024. The embedding is scaled by √width, and what a norm multiplies by is 1 + the weight
that a folder stores.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from attn_cli.families import llama, llama_gguf
from attn_cli.families.llama import entering_norm, gated_mlp, norm, project, sizes
from attn_cli.model.cache import Cache, Ids, Pass
from attn_cli.model.config import ConfigReader
from attn_cli.model.family import Model
from attn_cli.model.gguf import named
from attn_cli.model.rope import Rope, read_rope, rotated
from attn_cli.model.stack import Request, Stack, causal_or_window
from attn_cli.model.tensors import MOST_LAYERS, Shapes, norms
from attn_cli.records import Facts

# Two of these stand beside the keys that are used in their place.
HARMLESS = frozenset(
    """
    attention_dropout cache_implementation hidden_act initializer_range sliding_window_size
    """.split()
)
# What the reference's config class has where config.json leaves a key out.
_DEFAULTS = {
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 256_000,
    "hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 8192,
    "tie_word_embeddings": True, "sliding_window": 4096, "query_pre_attn_scalar": 256,
    "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
}  # fmt: skip
_PERIOD = 2  # every second layer has no window


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(llama.Config):
    """The numbers of a Gemma model. A cap of 0 is none.

    Layers with a window rotate by `local_rope`.
    """

    scale: float
    attention_cap: float
    logit_cap: float
    local_rope: Rope


def read_config(reader: ConfigReader) -> Config:
    reader = reader.with_defaults(_DEFAULTS)
    shared = sizes(reader, activation="hidden_activation")
    rope = read_rope(reader, shared["head_width"], shared["context"])
    config = gemma_config(reader, shared, rope, rope, _PERIOD)
    reader.finish(HARMLESS)
    return config


def gemma_config(
    reader: ConfigReader, shared: Mapping[str, Any], rope: Rope, local_rope: Rope, period: int
) -> Config:
    """The keys that every Gemma since the second has."""
    reader.only("use_bidirectional_attention", False)
    bias = reader.flag("attention_bias", False)
    return Config(
        **shared,
        qkv_bias=bias,
        output_bias=bias,
        norm_base=1.0,
        scale=reader.positive("query_pre_attn_scalar") ** -0.5,
        attention_cap=reader.cap("attn_logit_softcapping"),
        logit_cap=reader.cap("final_logit_softcapping"),
        rope=rope,
        local_rope=local_rope,
        windows=layer_windows(reader, shared["layers"], period),
    )


def layer_windows(reader: ConfigReader, layers: int, period: int) -> tuple[int, ...]:
    """The window of each layer, 0 for none: all but every `period`th layer, or `layer_types`."""
    width = reader.integer("sliding_window")
    slides = llama.sliding(reader, layers)
    return llama.windowed(width, slides or ((n + 1) % period != 0 for n in range(layers)))


def shapes(config: Config) -> Shapes:
    """The name and shape of every tensor: Llama's, and two further norms in each layer."""
    more = ("layers.*.pre_feedforward_layernorm", "layers.*.post_feedforward_layernorm")
    return llama.shapes(config) | norms(config.model_width, *more, biased=False)


def describe(facts: Facts, config: Config) -> Facts:
    ropes = (config.local_rope if width else config.rope for width in config.windows)
    return replace(
        llama.describe(facts, config),
        embedding="scaled",
        embedding_factor=config.model_width**0.5,
        residual="normed",
        logit_cap=config.logit_cap,
        attention_factors=tuple(rope.attention_factor for rope in ropes),
    )


def forward(model: Model, ids: Ids, request: Request, cache: Cache | None = None) -> Pass:
    config, windows = model.config, model.config.windows
    stack = Stack(model, ids, request, cache, restart_beyond=config.rope.limit)
    token = model.weights.rows("embed_tokens.weight", stack.ids)
    x, first = token * token.dtype.type(config.model_width**0.5), {"token_embedding": token}
    ropes = [stack.angles(rope) for rope in (config.rope, config.local_rope)]
    for parts in stack.layers("layers."):
        entry, angles = entering_norm(config, parts, x), ropes[windows[stack.layer] > 0]
        output = yield from stack.attend(
            {**first, **entry, **rotated(project(config, parts, entry["normed"]), angles)},
            visible=causal_or_window(windows[stack.layer]),
            out=parts.map("self_attn.o_proj"),
            scale=config.scale,
            soft_cap=config.attention_cap,
        )
        added, first = norm(config, parts, "post_attention_layernorm", output), {}
        x = x + added
        inner = gated_mlp(config, parts, norm(config, parts, "pre_feedforward_layernorm", x))
        more = norm(config, parts, "post_feedforward_layernorm", stack.mlp(inner))
        x = yield from stack.after(x + more, added, more)
    return stack.end(x)


# --- the same model in a GGUF file, which holds what a norm multiplies by as it is ---------------


class LeftOut(NamedTuple):
    """What a family's GGUF files do not say, as llama.cpp has it (src/models/NAME.cpp).

    Every layer but each `period`th has the window. A model of `wide_layers` layers, the largest
    one, scales by the model's width shared among the heads; the others by the head's own width.
    Layers with a window rotate by `local_base`, unscaled; 0 is the base of all.
    """

    period: int
    wide_layers: int
    local_base: float


def say(
    reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any], *, left_out: LeftOut
) -> None:
    """Llama's way, and what Gemma's files leave out: windows per layer and the scale."""
    llama_gguf.say(reader, values, tensors)
    layers = reader.integer("num_hidden_layers", high=MOST_LAYERS)
    heads, period = reader.integer("num_attention_heads"), reader.integer("period", left_out.period)
    values.pop("period", 0)
    wide = layers == left_out.wide_layers
    width = reader.integer("hidden_size") // heads if wide else values["head_dim"]
    if left_out.local_base:
        values.setdefault("rope_local_base_freq", left_out.local_base)
    if not values.get("sliding_window"):
        values |= {"sliding_window": 1, "layer_types": [llama.KINDS[0]] * layers}
    else:
        values["layer_types"] = [llama.KINDS[(layer + 1) % period != 0] for layer in range(layers)]
    values["query_pre_attn_scalar"] = width


def finish(config: Config, reader: ConfigReader, tensors: Mapping[str, Any]) -> Config:
    """As Llama's."""
    return replace(llama_gguf.finish(config, reader, tensors), norm_base=0.0)


GGUF = replace(
    llama_gguf.GGUF,
    keys=llama_gguf.GGUF.keys
    | {
        "attn_logit_softcapping": "attn_logit_softcapping",
        "final_logit_softcapping": "final_logit_softcapping",
        "attention.sliding_window": "sliding_window",
        "attention.sliding_window_pattern": "period",
    },
    tensors=llama_gguf.GGUF.tensors
    | named(
        {
            "layers.*.post_attention_layernorm": "blk.*.post_attention_norm",
            "layers.*.pre_feedforward_layernorm": "blk.*.ffn_norm",
            "layers.*.post_feedforward_layernorm": "blk.*.post_ffw_norm",
        },
        "weight",
    ),
    say=partial(say, left_out=LeftOut(period=_PERIOD, wide_layers=46, local_base=0.0)),
    finish=finish,
    raised=1.0,
)

FAMILY = replace(
    llama.FAMILY,
    read_config=read_config,
    shapes=shapes,
    describe=describe,
    forward=forward,
    gguf=GGUF,
)

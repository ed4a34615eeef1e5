"""Gemma 2: Llama with soft caps, windows in every other layer, and norms on both sides.

Gemma Team 2024. The embedding is scaled by √width, and a norm's gain is 1 + what a folder stores.
"""

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from attn_cli.checkpoints.gguf import Gguf
from attn_cli.families import llama
from attn_cli.families.llama import gated_mlp, naming, project_apart, sizes
from attn_cli.families.llama_gguf import read_gguf
from attn_cli.maths.layers import rms_norm, soft_cap
from attn_cli.model.cache import Cache
from attn_cli.model.config import ConfigReader
from attn_cli.model.rope import Rope, read_rope
from attn_cli.model.stack import Block, Final, Request, own_mask, run_block, turn
from attn_cli.model.weights import LayerWeights, Model, Stored
from attn_cli.records import Attention

__all__ = ["forward", "naming", "open_gguf", "predict", "read_config", "tensor_shapes"]
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


class LeftOut(NamedTuple):
    """What a family's GGUF files do not say, as llama.cpp has it (src/models/NAME.cpp).

    Every layer but each `period`th has the window. A model of `wide_layers` layers, the largest
    one, scales by the model's width shared among the heads; the others by the head's own width.
    Layers with a window turn by `local_base`, unscaled; 0 is the base of all.
    """

    period: int
    wide_layers: int
    local_base: float


_LEFT_OUT = LeftOut(period=2, wide_layers=46, local_base=0.0)
GGUF_KEYS = {
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "attention.sliding_window": "sliding_window",
    "attention.sliding_window_pattern": "period",
}
GGUF_TENSORS = {
    "layers.*.post_attention_layernorm.weight": "blk.*.post_attention_norm.weight",
    "layers.*.pre_feedforward_layernorm.weight": "blk.*.ffn_norm.weight",
    "layers.*.post_feedforward_layernorm.weight": "blk.*.post_ffw_norm.weight",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(llama.Config):
    """The numbers of a Gemma model. A cap of 0 is none.

    Layers with a window turn by `local_rope`.
    """

    scale: float
    attention_cap: float
    logit_cap: float
    local_rope: Rope


def read_config(values: Mapping[str, Any], where: str, ignored: Iterable[str] = ()) -> Config:
    """Raises ContentError for a config that cannot be honoured exactly."""
    reader = ConfigReader(with_defaults(values, _DEFAULTS), where)
    shared = sizes(reader, where, activation="hidden_activation")
    rope = read_rope(reader, shared["head_width"], shared["context"], where, ignored)
    config = gemma_config(reader, shared, rope, rope)
    config = replace(config, windows=layer_windows(reader, config.layers, _LEFT_OUT.period))
    reader.finish(HARMLESS, ignored)
    return config


def with_defaults(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The values, and defaults for the keys that are not there. A null stays: it says `none`."""
    return {**defaults, **values}


def gemma_config(
    reader: ConfigReader, shared: Mapping[str, Any], rope: Rope, local_rope: Rope
) -> Config:
    """The keys that every Gemma since the second has; the windows are still to come."""
    reader.never("use_bidirectional_attention")
    bias = reader.flag("attention_bias", False)
    return Config(
        **shared,
        qkv_bias=bias,
        output_bias=bias,
        gain_base=1.0,
        scale=reader.positive("query_pre_attn_scalar") ** -0.5,
        attention_cap=reader.cap("attn_logit_softcapping"),
        logit_cap=reader.cap("final_logit_softcapping"),
        rope=rope,
        local_rope=local_rope,
        windows=(),
    )


def layer_windows(reader: ConfigReader, layers: int, period: int) -> tuple[int, ...]:
    """The window of each layer, 0 for none: all but every `period`th layer, or `layer_types`."""
    width = reader.integer("sliding_window")
    kinds = reader.words("layer_types", ("full_attention", "sliding_attention"), layers)
    slides = [kind == "sliding_attention" for kind in kinds]
    slides = slides or [(layer + 1) % period != 0 for layer in range(layers)]
    return tuple(width if here else 0 for here in slides)


def tensor_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """The name and shape of every tensor: Llama's, and two further norms in each layer."""
    shapes = llama.tensor_shapes(config)
    for layer in range(config.layers):
        for place in ("pre_feedforward", "post_feedforward"):
            shapes[f"layers.{layer}.{place}_layernorm.weight"] = (config.model_width,)
    return shapes


def open_gguf(
    found: Gguf, architecture: str, ignored: Iterable[str] = ()
) -> tuple[Config, dict[str, Stored]]:
    """The config and tensors of a GGUF file, which holds gains whole."""

    def read(values: Mapping[str, Any], where: str) -> Config:
        return read_config(said_in_gguf(values, where, _LEFT_OUT), where)

    config, stored = read_gguf(
        found, architecture, read, ignored, keys=GGUF_KEYS, tensors=GGUF_TENSORS
    )
    return replace(config, gain_base=0.0), stored


def said_in_gguf(values: Mapping[str, Any], where: str, left_out: LeftOut) -> dict[str, Any]:
    """The values with what Gemma's files leave out: windows per layer and the scale."""
    given = {key: value for key, value in values.items() if key != "period"}
    reader = ConfigReader(values, where)
    layers = reader.integer("num_hidden_layers", high=llama.MOST_LAYERS)
    heads = reader.integer("num_attention_heads")
    period = reader.integer("period", left_out.period)
    wide = layers == left_out.wide_layers
    width = reader.integer("hidden_size") // heads if wide else values["head_dim"]
    if left_out.local_base:
        given.setdefault("rope_local_base_freq", left_out.local_base)
    if not given.get("sliding_window"):
        given |= {"sliding_window": 1, "layer_types": ["full_attention"] * layers}
    else:
        kinds = ("full_attention", "sliding_attention")
        given["layer_types"] = [kinds[(layer + 1) % period != 0] for layer in range(layers)]
    return {**given, "query_pre_attn_scalar": width}


def forward(
    model: Model, ids: tuple[int, ...], request: Request, cache: Cache | None = None
) -> Generator[Attention, None, Final]:
    """Yields the record of each chosen layer in turn and returns the final hidden vectors."""
    config, weights = model.config, model.weights
    ids, start, angles = config.rope.begin(ids, cache)
    local_angles = config.local_rope.angles(start, len(ids))
    token = weights.rows("embed_tokens.weight", ids)
    x = token * token.dtype.type(config.model_width**0.5)
    before = {"token_embedding": token}
    # Other tools mean by these names what stands before the q and k norm, and behind the last one.
    own_names = {"output"} | ({"q_unrotated", "k_unrotated"} if config.qk_norm else set())
    touched = False
    for layer, parts in enumerate(weights.layers("layers.", request.last_layer)):
        normed = _norm(config, parts, "input", x)
        arrays = project_apart(config, parts, normed)
        turn(arrays, *(local_angles if config.windows[layer] else angles))
        block = Block(
            layer=layer,
            arrays={**before, "x": x, "normed": normed, **arrays},
            own_visible=own_mask(config.windows[layer], len(ids), start),
            w_o=parts["self_attn.o_proj.weight"].T,
            b_o=arrays.get("b_o", np.zeros(0, x.dtype)),
            scale=config.scale,
            soft_cap=config.attention_cap,
            embedding="scaled",
            residual="normed",
            touched=touched,
            own_names=frozenset(own_names),
        )
        result = run_block(request, block, cache)
        yield from result.records
        touched = result.touched
        if layer == request.last_layer < config.layers - 1:
            return Final(hidden=x[:0], touched=touched)
        x = x + _norm(config, parts, "post_attention", result.output)
        inner = gated_mlp(config, parts, _norm(config, parts, "pre_feedforward", x))
        x, before = x + _norm(config, parts, "post_feedforward", inner), {}
    if cache:
        cache.advance(ids)
    gain = config.gain_base + weights["norm.weight"]
    return Final(hidden=rms_norm(x, gain, config.epsilon), touched=touched)


def _norm(config: Config, parts: LayerWeights, place: str, x: np.ndarray) -> np.ndarray:
    gain = config.gain_base + parts[f"{place}_layernorm.weight"]
    return rms_norm(x, gain, config.epsilon)


def predict(model: Model, hidden: np.ndarray) -> np.ndarray:
    """Logits (position, vocabulary) of final hidden vectors (position, model), capped."""
    logits = llama.predict(model, hidden)
    cap = model.config.logit_cap
    return soft_cap(logits, cap) if cap else logits

"""How GGUF files have Llama and its siblings: tables, and what the two forms say otherwise."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from attn_cli.model.config import ConfigReader
from attn_cli.model.gguf import HARMLESS, Gguf, named, unpaired
from attn_cli.model.tensors import MOST_LAYERS

if TYPE_CHECKING:
    from attn_cli.families.llama import Config

_SCALING = (
    "factor", "attention_factor", "beta_fast", "beta_slow", "original_max_position_embeddings",
)  # fmt: skip
# Ollama's converter writes the second and third of a config that does not scale.
_NOT_SCALED = ("none", "", "default")
_KINDS = (*_NOT_SCALED, "linear", "yarn", "longrope")
_FACTORS = "rope_freqs.weight"
_SHORT_FACTORS, _LONG_FACTORS = "rope_factors_short.weight", "rope_factors_long.weight"


def say(
    reader: ConfigReader,
    values: dict[str, Any],
    tensors: Mapping[str, Any],
    *,
    partial: bool = False,
) -> None:
    """Config.json's way of saying what GGUF says by other keys and by which tensors there are.

    `partial`: not all of a head's dimensions need rotate.
    """
    shared = reader.integer("hidden_size") // reader.integer("num_attention_heads")
    if not reader.has("head_dim"):
        reader.equal_shares("hidden_size", "num_attention_heads")
    width = values["head_dim"] = reader.integer("head_dim", shared)
    for key, default in (("value_dim", shared), ("told_dim", width), ("rotated", width)):
        turned = partial and key == "rotated"
        value = reader.integer(key, default, high=width if turned else 2**31 - 1)
        values.pop(key, 0)
        if partial and key == "rotated":
            # A half more, since a share of the width is cut to a whole number of dimensions.
            values["partial_rotary_factor"] = 1.0 if value == width else (value + 0.5) / width
        elif value != width:
            raise reader.error(f"{reader.named(key)} differs from the head width {width}")
    values.setdefault("num_key_value_heads", None)  # as many as heads
    say_scaling(reader, values, tensors)


def say_scaling(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    """How positions are scaled, in config.json's way; what `finish` reads is taken away."""
    scaling = {key: values.pop(key) for key in _SCALING if key in values}
    # A factor without a type is linear, as llama.cpp reads it.
    kind = reader.choice("scaling", _KINDS, "linear" if "factor" in scaling else "none")
    values.pop("scaling", "")
    if kind == "longrope":
        if _LONG_FACTORS not in tensors:
            raise reader.error(f"{reader.named('scaling')} is longrope, without {_LONG_FACTORS}")
        kind = "none"
    if kind in _NOT_SCALED:
        kind, scaling = "default", {}
    values["rope_scaling"] = {"rope_type": kind, **scaling}
    for key in ("window", "pattern", "attn_factor", "local_base"):
        values.pop(key, 0)


def attending(reader: ConfigReader) -> tuple[int, tuple[bool, ...]]:
    """How many kv heads the layers with attention have, and which they are: others have none."""
    counts = reader.wholes("num_key_value_heads")
    layers, found = reader.integer("num_hidden_layers", high=MOST_LAYERS), {*counts} - {0}
    if len(counts) != layers or len(found) != 1:
        name = reader.named("num_key_value_heads")
        raise reader.error(f"{name} is not a list of {layers} numbers, all equal or 0")
    return found.pop(), tuple(count > 0 for count in counts)


def finish(config: "Config", reader: ConfigReader, tensors: Mapping[str, Any]) -> "Config":
    """What the file says by tensors, and windows and factors that no config.json has so."""
    width, rope = reader.integer("window", 0, low=0), config.rope
    if _FACTORS in tensors:
        rope = rope.slowed(tensors[_FACTORS].read(), reader)
    if _LONG_FACTORS in tensors and _SHORT_FACTORS in tensors:
        limit = reader.integer("original_max_position_embeddings", config.context)
        factors = (tensors[name].read() for name in (_SHORT_FACTORS, _LONG_FACTORS))
        rope = rope.of_two_lengths(*factors, limit, reader)
    factor = rope.attention_factor * reader.positive("attn_factor", 1.0)
    return replace(
        config,
        windows=(width,) * config.layers if width else config.windows,
        rope=replace(rope, attention_factor=factor),
        qkv_bias=config.qkv_bias or "blk.0.attn_q.bias" in tensors,
        output_bias="blk.0.attn_output.bias" in tensors,
        mlp_bias="blk.0.ffn_down.bias" in tensors,
    )


def windows(reader: ConfigReader, layers: int, period: int) -> tuple[int, ...]:
    """A width per layer, 0 for none, of a `WINDOWED` file: all but every so many layers have the
    window, every `period`th where the file does not say, or as it says layer by layer."""
    width = reader.integer("window", 0, low=0)
    if reader.lists("pattern"):
        slides = reader.flags("pattern", layers)
    else:
        every = reader.integer("pattern", period)
        slides = tuple((layer + 1) % every != 0 for layer in range(layers))
    return tuple(width if here else 0 for here in slides)


def layer_normed(keys: Mapping[str, str]) -> dict[str, str]:
    """The keys of a sibling whose norms are layer norms."""
    own = {"attention.layer_norm_epsilon": "layer_norm_eps"}
    return {key: name for key, name in keys.items() if name != "rms_norm_eps"} | own


def unpaired_rows(config: "Config") -> dict[str, Any]:
    """Llama's own q and k rows, which its converter pairs."""
    return {
        f"layers.*.self_attn.{letter}_proj.{part}": unpaired(heads)
        for letter, heads in (("q", config.heads), ("k", config.kv_heads))
        for part in ("weight", "bias")
    }


# What siblings share, whose converters leave the rows as they are.
GGUF = Gguf(
    keys={
        "block_count": "num_hidden_layers",
        "context_length": "max_position_embeddings",
        "embedding_length": "hidden_size",
        "feed_forward_length": "intermediate_size",
        "attention.head_count": "num_attention_heads",
        "attention.head_count_kv": "num_key_value_heads",
        "attention.layer_norm_rms_epsilon": "rms_norm_eps",
        "attention.key_length": "head_dim",
        "attention.value_length": "value_dim",
        "attention.head_dim": "told_dim",  # of Ollama's converter, beside the others
        "attention.sliding_window": "window",
        "rope.freq_base": "rope_theta",
        "rope.dimension_count": "rotated",
        "rope.scaling.type": "scaling",
        "rope.scaling.factor": "factor",
        "rope.scaling.attn_factor": "attn_factor",
        "rope.scaling.yarn_attn_factor": "attention_factor",
        "rope.scaling.yarn_beta_fast": "beta_fast",
        "rope.scaling.yarn_beta_slow": "beta_slow",
        "rope.scaling.original_context_length": "original_max_position_embeddings",
    },
    harmless=HARMLESS | {"rope.scaling.finetuned"},
    left_out=(_FACTORS, _SHORT_FACTORS, _LONG_FACTORS),
    tensors=named(
        {
            "embed_tokens": "token_embd",
            "norm": "output_norm",
            "lm_head": "output",
            "layers.*.input_layernorm": "blk.*.attn_norm",
            "layers.*.post_attention_layernorm": "blk.*.ffn_norm",
            "layers.*.self_attn.q_norm": "blk.*.attn_q_norm",
            "layers.*.self_attn.k_norm": "blk.*.attn_k_norm",
            "layers.*.self_attn.q_proj": "blk.*.attn_q",
            "layers.*.self_attn.k_proj": "blk.*.attn_k",
            "layers.*.self_attn.v_proj": "blk.*.attn_v",
            "layers.*.self_attn.o_proj": "blk.*.attn_output",
            "layers.*.mlp.gate_proj": "blk.*.ffn_gate",
            "layers.*.mlp.up_proj": "blk.*.ffn_up",
            "layers.*.mlp.down_proj": "blk.*.ffn_down",
        }
    ),
    say=say,
    finish=finish,
)
_PATTERN = "attention.sliding_window_pattern"
# Where not all layers have the window.
WINDOWED = replace(GGUF, keys=GGUF.keys | {_PATTERN: "pattern"}, by_layer=frozenset({_PATTERN}))

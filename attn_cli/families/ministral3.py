"""Ministral 3: Mistral whose queries grow with their position. Mistral AI 2025."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from attn_cli.families import llama, llama_gguf
from attn_cli.model.config import ConfigReader
from attn_cli.model.rope import Rope, rope_kind, rope_of_whole_heads, rope_section
from attn_cli.records import Facts

# What the reference's config class has where config.json leaves a key out.
_DEFAULTS = {"num_key_value_heads": 8, "head_dim": 128, "rms_norm_eps": 1e-5}
_BETA, _ORIGINAL = "llama_4_scaling_beta", "original_max_position_embeddings"
_ROPE = {
    "type": "yarn", "rope_theta": 1_000_000.0, "factor": 16.0, "beta_fast": 32.0, "beta_slow": 1.0,
    _ORIGINAL: 16384, "mscale": 1.0, "mscale_all_dim": 1.0, _BETA: 0.1,
}  # fmt: skip


def read_config(reader: ConfigReader) -> llama.Config:
    reader = reader.with_defaults(_DEFAULTS)
    shared = llama.sizes(reader)
    window = reader.integer("sliding_window", 0, low=0)
    reader.words("layer_types", ("full_attention",), shared["layers"])
    config = llama.Config(
        **shared,
        rope=_rope(reader, shared["head_width"], shared["context"]),
        windows=(window,) * shared["layers"],
    )
    reader.finish(llama.HARMLESS)
    return config


def describe(facts: Facts, config: llama.Config) -> Facts:
    return replace(llama.describe(facts, config), grown=config.rope.growth is not None)


def _rope(reader: ConfigReader, width: int, context: int) -> Rope:
    """The reference has no number in the place of the two keys, and fails without them, but for
    the trained length where frequencies are scaled by it."""
    section = rope_section(reader, default=_ROPE)
    scaled = rope_kind(section) in ("llama3", "yarn", "longrope")
    beta, length = section.number(_BETA), section.integer(_ORIGINAL, context if scaled else None)
    base = section.positive("rope_theta", reader.positive("rope_theta", 10_000.0))
    rope = rope_of_whole_heads(section, reader, base, width, context)
    return replace(rope, growth=(beta, length) if beta else None)


# --- the same model in a GGUF file, which may also be a Mistral without that growth --------------


def _say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    """llama.cpp takes the second factor of YaRN's attention alone, and 1 for the first."""
    more = {key: values.pop(key) for key in (_BETA, "mscale_all_dim") if key in values}
    llama_gguf.say(reader, values, tensors)
    rope = {"mscale": 1.0, _BETA: 0.0, _ORIGINAL: reader.integer("max_position_embeddings")}
    values["rope_scaling"] = rope | values["rope_scaling"] | more


# Of Ollama's converter, which packs all in one.
_OF_PICTURES = {"vision", "mm", "image_token_index", "spatial_merge_size"}
GGUF = replace(
    llama_gguf.GGUF,
    keys=llama_gguf.GGUF.keys
    | {"rope.scaling.yarn_log_multiplier": "mscale_all_dim", "attention.temperature_scale": _BETA},
    harmless=llama_gguf.GGUF.harmless | _OF_PICTURES,
    arrange=llama_gguf.unpaired_rows,
    say=_say,
)
FAMILY = replace(llama.FAMILY, read_config=read_config, describe=describe, gguf=GGUF)

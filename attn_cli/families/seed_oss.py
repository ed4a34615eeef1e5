"""Seed-OSS: Llama with biases on queries, keys and values. ByteDance Seed 2025."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from attn_cli.families import llama, llama_gguf
from attn_cli.model.config import ConfigReader
from attn_cli.model.gguf import named

# What the reference's config class has where config.json leaves a key out.
_DEFAULTS = {"num_key_value_heads": 8, "head_dim": 128}


def read_config(reader: ConfigReader) -> llama.Config:
    reader = reader.with_defaults(_DEFAULTS)
    shared = llama.common(reader)
    config = llama.Config(
        **shared,
        qkv_bias=reader.flag("attention_bias", True),
        output_bias=reader.flag("attention_out_bias", False),
        mlp_bias=reader.flag("mlp_bias", False),
        windows=(0,) * shared["layers"],
    )
    reader.finish(llama.HARMLESS | {"pretraining_tp", "residual_dropout"})
    return config


def _say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    llama_gguf.say(reader, values, tensors)
    values["attention_bias"] = "blk.0.attn_q.bias" in tensors


_NORM = named({"layers.*.post_attention_layernorm": "blk.*.post_attention_norm"}, "weight")
FAMILY = replace(
    llama.FAMILY,
    read_config=read_config,
    gguf=replace(llama_gguf.GGUF, tensors=llama_gguf.GGUF.tensors | _NORM, say=_say),
)

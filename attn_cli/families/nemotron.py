"""Nemotron and Minitron: what a norm multiplies by is 1 + its weight; squared ReLU, no biases.

Parmar et al. 2024. Half of each head's dimensions rotate.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from attn_cli.families import llama_gguf
from attn_cli.model import prenorm
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.config import ConfigReader
from attn_cli.model.gguf import HARMLESS, Gguf
from attn_cli.model.prenorm import Config, Layout

_HARMLESS = frozenset({"attention_dropout", "initializer_range"})
_LAYOUT = Layout()


def read_config(reader: ConfigReader) -> Config:
    found = prenorm.sizes(reader)
    found["head_width"] = prenorm.head_width(reader, found)
    kv_heads = reader.integer("num_key_value_heads")
    found["kv_heads"] = prenorm.grouped(reader, found, kv_heads)
    bias = reader.flag("attention_bias", False)
    config = Config(
        **found,
        inner_width=reader.integer("intermediate_size"),
        epsilon=reader.positive("norm_eps", 1e-5),
        activation=reader.choice("hidden_act", ACTIVATIONS, "relu2"),
        tied=reader.flag("tie_word_embeddings", False),
        qkv_bias=bias,
        output_bias=bias,
        mlp_bias=reader.flag("mlp_bias", False),
        norm_base=1.0,
        rope=prenorm.partial_rope(reader, found, 0.5),
    )
    reader.finish(_HARMLESS)
    return config


# --- the same model in a GGUF file, which holds what a norm multiplies by as it is ---------------


def _say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    llama_gguf.say(reader, values, tensors, partial=True)
    values["num_key_value_heads"] = values["num_key_value_heads"] or values["num_attention_heads"]
    values["attention_bias"] = "blk.0.attn_q.bias" in tensors
    values["mlp_bias"] = "blk.0.ffn_up.bias" in tensors


_GGUF = Gguf(
    keys=prenorm.gguf_keys(llama_gguf.GGUF.keys, "norm_eps"),
    # Converters write `norm_eps` under this name too, which means another norm.
    harmless=HARMLESS | {"attention.layer_norm_rms_epsilon"},
    tensors=prenorm.gguf_tensors(_LAYOUT),
    say=_say,
    finish=lambda config, *_: replace(config, norm_base=0.0),
    raised=1.0,
)

FAMILY = prenorm.family(_LAYOUT, read_config, gguf=_GGUF)

"""Falcon: rotation or ALiBi, parts beside each other after one norm or two, or one after the other.

Almazrouei et al. 2023. The groups of heads that share a key and a value stand one after the other
in `query_key_value`: a group's queries, its key, its value. ALiBi is added before the scores are
scaled, its slopes and its products rounded to bfloat16; that is the reference with the attention
that it takes by default, since its eager one adds the bias twice.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from attn_cli.maths.attention import Relation, default_scale, no_bias
from attn_cli.maths.positions import alibi_slopes, bfloat16, rounded_alibi
from attn_cli.model import prenorm
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.config import ConfigReader
from attn_cli.model.gguf import NEUTRAL, Gguf, fused_rows, named
from attn_cli.model.prenorm import Config, Layout
from attn_cli.model.stack import Stack
from attn_cli.records import Facts

_HARMLESS = frozenset({"attention_dropout", "hidden_dropout", "initializer_range"})
_OF_ROTATION = frozenset({"rope_parameters", "rope_scaling", "rope_theta"})


def read_config(reader: ConfigReader) -> Config:
    reader = reader.with_defaults({"max_position_embeddings": 2048})
    reader.take("hidden_size", "n_embed")
    found, alibi = prenorm.sizes(reader), reader.flag("alibi", False)
    new = reader.flag("new_decoder_architecture", False)
    parallel, norms = _parts(reader, new)
    found["kv_heads"] = groups = _groups(reader, found, new)
    bias = reader.flag("bias", False)
    config = Config(
        **found,
        groups=groups,
        inner_width=reader.integer("ffn_hidden_size", 4 * found["model_width"]),
        epsilon=reader.positive("layer_norm_epsilon", 1e-5),
        activation=reader.choice("activation", ACTIVATIONS, "gelu"),
        tied=reader.flag("tie_word_embeddings", True),
        parallel=parallel,
        one_norm=norms == 1,
        qkv_bias=bias,
        output_bias=bias,
        mlp_bias=bias,
        rope=None if alibi else prenorm.whole_rope(reader, found),
    )
    reader.finish(_HARMLESS | (_OF_ROTATION if alibi else frozenset()))
    return config


def _parts(reader: ConfigReader, new: bool) -> tuple[bool, int]:
    """Whether the parts are beside each other, and how many norms a layer has."""
    parallel = reader.flag("parallel_attn", True)
    norms = reader.integer("num_ln_in_parallel_attn", 2 if new else 1, high=2)
    if new and not parallel:
        raise reader.error("parallel_attn is false in the new decoder architecture")
    if parallel and norms == 2 and not new:
        raise reader.error("num_ln_in_parallel_attn is 2 without new_decoder_architecture")
    return parallel, norms if parallel else 2


def _groups(reader: ConfigReader, found: Mapping[str, Any], new: bool) -> int:
    """How many groups of heads share a key and a value."""
    heads = found["heads"]
    groups = reader.integer("num_kv_heads", heads)
    if reader.flag("multi_query", True) and not new:
        return 1
    if heads % groups or (groups != heads and not new):
        raise reader.error(f"{reader.named('num_kv_heads')} {groups} does not fit {heads} heads")
    return groups


def _bias(config: Config, stack: Stack, dtype: np.dtype) -> Relation:
    slopes_H = alibi_slopes(config.heads)
    return no_bias if config.rope else partial(rounded_alibi, slopes_H=slopes_H,
                                               width=config.head_width)  # fmt: skip


_LAYOUT = Layout(
    embedding="word_embeddings",
    layers="h.",
    fused="self_attention.query_key_value",
    out="self_attention.dense",
    mlp=("mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
    last="ln_f",
    prefixes=("transformer.",),
    bias=_bias,
)
_OF_TWO = replace(_LAYOUT, norms=("ln_attn", "ln_mlp"))


def _layout(config: Config) -> Layout:
    return _OF_TWO if config.parallel and not config.one_norm else _LAYOUT


def describe(facts: Facts, config: Config) -> Facts:
    facts = prenorm.describe(_LAYOUT, facts, config)
    if config.rope:
        return facts
    slopes_H = bfloat16(alibi_slopes(config.heads)) * default_scale(config.head_width)
    return replace(facts, positions="bias", alibi="rounded", slopes=tuple(slopes_H.tolist()))


# --- the same model in a GGUF file, whose fused rows are all queries, keys, values ---------------


def _say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    values["new_decoder_architecture"] = True
    values["num_ln_in_parallel_attn"] = 1 + ("blk.0.attn_norm_2.weight" in tensors)
    values["num_kv_heads"] = values.get("num_kv_heads") or reader.integer("num_attention_heads")
    values["bias"] = "blk.0.attn_qkv.bias" in tensors


def _more(config: Config) -> dict[str, str]:
    norms = {"attn_norm": "input_layernorm"}
    if not config.one_norm:
        norms = {"attn_norm_2": "ln_attn", "attn_norm": "ln_mlp"}
    return named({f"h.*.{ours}": f"blk.*.{theirs}" for theirs, ours in norms.items()})


_GGUF = Gguf(
    keys={
        "block_count": "num_hidden_layers",
        "context_length": "max_position_embeddings",
        "embedding_length": "hidden_size",
        "feed_forward_length": "ffn_hidden_size",
        "attention.head_count": "num_attention_heads",
        "attention.head_count_kv": "num_kv_heads",
        "attention.layer_norm_epsilon": "layer_norm_epsilon",
        "rope.freq_base": "rope_theta",
    },
    neutral=NEUTRAL | {"tensor_data_layout": ("jploski",)},
    required=("tensor_data_layout",),
    tensors=prenorm.gguf_tensors(_LAYOUT),
    more=_more,
    say=_say,
    arrange=lambda config: fused_rows(f"h.*.{_LAYOUT.fused}", config.heads, config.groups),
)

FAMILY = prenorm.family(_LAYOUT, read_config, _layout, describe=describe, gguf=_GGUF)

"""Phi-1, Phi-1.5 and Phi-2: attention and network beside each other, after one norm.

Gunasekar et al. 2023; Li et al. 2023. Half of each head's dimensions rotate.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from attn_cli.families import llama_gguf
from attn_cli.model import prenorm
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.config import ConfigReader
from attn_cli.model.gguf import Gguf
from attn_cli.model.prenorm import Config, Layout

_HARMLESS = frozenset({"attention_dropout", "embd_pdrop", "initializer_range", "resid_pdrop"})
_LAYOUT = Layout(
    norms=("input_layernorm", ""),
    fused="self_attn.qkv_proj",
    out="self_attn.dense",
    mlp=("mlp.fc1", "mlp.fc2"),
    last="final_layernorm",
)


def read_config(reader: ConfigReader) -> Config:
    found = prenorm.sizes(reader)
    head_norm = reader.flag("qk_layernorm", False)
    found["head_width"] = prenorm.head_width(reader, found)
    if head_norm and found["head_width"] * found["heads"] != found["model_width"]:
        raise reader.error("qk_layernorm does not fit a head_dim of its own")
    kv_heads = reader.integer("num_key_value_heads", found["heads"])
    found["kv_heads"] = prenorm.grouped(reader, found, kv_heads)
    config = Config(
        **found,
        inner_width=reader.integer("intermediate_size"),
        epsilon=reader.positive("layer_norm_eps", 1e-5),
        activation=reader.choice("hidden_act", ACTIVATIONS, "gelu_new"),
        tied=reader.flag("tie_word_embeddings", False),
        parallel=True,
        one_norm=True,
        logit_bias=True,
        head_norm=head_norm,
        head_norm_bias=head_norm,
        rope=prenorm.partial_rope(reader, found, 0.5, odd=False),
    )
    reader.finish(_HARMLESS)
    return config


# --- the same model in a GGUF file ---------------------------------------------------------------


def _finish(config: Config, reader: ConfigReader, tensors: Mapping[str, Any]) -> Config:
    """Files of older converters have q, k and v side by side."""
    return replace(config, groups=int("blk.0.attn_qkv.weight" in tensors))


_GGUF = Gguf(
    keys=prenorm.gguf_keys(llama_gguf.GGUF.keys, "layer_norm_eps"),
    tensors=prenorm.gguf_tensors(_LAYOUT),
    say=partial(llama_gguf.say, partial=True),
    finish=_finish,
)

FAMILY = prenorm.family(_LAYOUT, read_config, gguf=_GGUF)

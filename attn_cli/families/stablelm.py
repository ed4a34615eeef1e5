"""StableLM: a quarter of each head rotates, a gated network after the attention or beside it.

Bellagente et al. 2024, "Stable LM 2 1.6B". Where queries and keys are normalised, each head has a
norm of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attn_cli.families import llama_gguf
from attn_cli.model import prenorm
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.config import ConfigReader
from attn_cli.model.gguf import HARMLESS, Gguf
from attn_cli.model.prenorm import Layout, head_normed
from attn_cli.model.project import Arrays
from attn_cli.model.tensors import Shapes, norms
from attn_cli.model.weights import NOTHING, LayerWeights

_HARMLESS = frozenset({"attention_dropout", "hidden_dropout", "initializer_range"})
_Q_NORM, _K_NORM = "self_attn.q_layernorm", "self_attn.k_layernorm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(prenorm.Config):
    """The numbers of a StableLM model. `stacked`: one tensor has the norms of all heads."""

    stacked: bool = False


def read_config(reader: ConfigReader) -> Config:
    found = prenorm.sizes(reader)
    kv_heads = reader.integer("num_key_value_heads", 32)
    found["kv_heads"] = prenorm.grouped(reader, found, kv_heads)
    reader.only("head_dim", found["head_width"])
    parallel = reader.flag("use_parallel_residual", False)
    config = Config(
        **found,
        inner_width=reader.integer("intermediate_size"),
        epsilon=reader.positive("layer_norm_eps", 1e-5),
        activation=reader.choice("hidden_act", ACTIVATIONS, "silu"),
        tied=reader.flag("tie_word_embeddings", False),
        qkv_bias=reader.flag("use_qkv_bias", False),
        output_bias=False,
        mlp_bias=False,
        head_norm=reader.flag("qk_layernorm", False),
        parallel=parallel,
        one_norm=parallel,
        rope=prenorm.partial_rope(reader, found, 0.25, odd=False),
    )
    reader.finish(_HARMLESS)
    return config


def shapes(config: Config) -> Shapes:
    found = prenorm.shapes(_LAYOUT, replace(config, head_norm=False))
    if config.head_norm:
        heads, layer = {_Q_NORM: config.heads, _K_NORM: config.kv_heads}, _LAYOUT.layers + "*."
        for name, count in heads.items():
            if config.stacked:
                found[f"{layer}{name}.weight"] = (count, config.head_width)
            else:
                each = (f"{layer}{name}.norms.{head}" for head in range(count))
                found |= norms(config.head_width, *each, biased=False)
    return found


def _project(config: Config, parts: LayerWeights, normed: np.ndarray, layout: Layout) -> Arrays:
    arrays = prenorm.project(replace(config, head_norm=False), parts, normed, layout)
    for letter, name in {"q": _Q_NORM, "k": _K_NORM}.items() if config.head_norm else ():
        if config.stacked:
            weight = parts[f"{name}.weight"]
        else:
            count = len(arrays[letter])
            weight = np.stack([parts[f"{name}.norms.{head}.weight"] for head in range(count)])
        arrays |= head_normed(arrays, letter, weight, NOTHING, config.epsilon)
    return arrays


_LAYOUT = Layout(mlp=("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"), project=_project)


# --- the same model in a GGUF file ---------------------------------------------------------------


def _say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    """The tensors tell, as llama.cpp reads it, also whether the parts are parallel."""
    llama_gguf.say(reader, values, tensors, partial=True)
    values["num_key_value_heads"] = values["num_key_value_heads"] or values["num_attention_heads"]
    values["use_qkv_bias"] = "blk.0.attn_q.bias" in tensors
    values["qk_layernorm"] = "blk.0.attn_q_norm.weight" in tensors
    values["use_parallel_residual"] = "blk.0.ffn_norm.weight" not in tensors


_GGUF = Gguf(
    keys=prenorm.gguf_keys(llama_gguf.GGUF.keys, "layer_norm_eps"),
    tensors=prenorm.gguf_tensors(_LAYOUT),
    harmless=HARMLESS | {"use_parallel_residual"},
    say=_say,
    finish=lambda config, *_: replace(config, stacked=True),
)

FAMILY = prenorm.family(_LAYOUT, read_config, shapes=shapes, gguf=_GGUF)

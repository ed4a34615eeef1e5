"""Gemma, the first: Llama with an embedding scaled by √width and a GELU. Gemma Team 2024.

What a norm multiplies by is 1 + the weight that a folder stores.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from attn_cli.families import granite, llama, llama_gguf
from attn_cli.model.config import ConfigReader
from attn_cli.records import Facts

# What the reference's config class has where config.json leaves a key out.
_DEFAULTS = {
    "num_key_value_heads": 16, "head_dim": 256, "hidden_act": "gelu_pytorch_tanh",
    "tie_word_embeddings": True,
}  # fmt: skip


def read_config(reader: ConfigReader) -> granite.Config:
    reader = reader.with_defaults(_DEFAULTS)
    reader.only("use_bidirectional_attention", False)
    shared, bias = llama.common(reader), reader.flag("attention_bias", False)
    reader.finish(llama.HARMLESS)
    # The first files say gelu and mean its approximation, as the reference takes it.
    tanh = {"activation": "gelu_pytorch_tanh"} if shared["activation"] == "gelu" else {}
    return granite.Config(
        **{**shared, **tanh},
        qkv_bias=bias,
        output_bias=bias,
        norm_base=1.0,
        embedding=shared["model_width"] ** 0.5,
        windows=(0,) * shared["layers"],
    )


def describe(facts: Facts, config: granite.Config) -> Facts:
    scaled = {"embedding": "scaled", "embedding_factor": config.model_width**0.5}
    return replace(llama.describe(facts, config), **scaled)


def _finish(
    config: granite.Config, reader: ConfigReader, tensors: Mapping[str, Any]
) -> granite.Config:
    """A file holds what a norm multiplies by as it is."""
    return replace(llama_gguf.finish(config, reader, tensors), norm_base=0.0)


FAMILY = replace(
    llama.FAMILY,
    read_config=read_config,
    describe=describe,
    forward=granite.forward,
    gguf=replace(llama_gguf.GGUF, finish=_finish, raised=1.0),
)

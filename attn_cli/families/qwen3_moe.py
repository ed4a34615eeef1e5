"""Qwen3 as a mixture of experts, none of which every token passes. Qwen team 2025."""

from dataclasses import replace
from functools import partial

from attn_cli.families import llama, mixtures, qwen2_moe
from attn_cli.model.config import ConfigReader


def read_config(reader: ConfigReader) -> mixtures.Config:
    reader.take("num_experts", "num_local_experts")
    llama.needs_kv_heads(reader)
    shared, bias = llama.common(reader), reader.flag("attention_bias", False)
    width = llama.window_width(reader)
    if not reader.flag("use_sliding_window", False):
        width = 0
    elif reader.has("sliding_window") and not width:
        raise reader.error("sliding_window is 0, which hides every key")
    networks = mixtures.sparse(reader, shared, defaults=(128, 8), width=768)
    reader.finish(mixtures.HARMLESS)
    return mixtures.Config(
        **shared, **networks, qkv_bias=bias, output_bias=bias, head_norm=True,
        windows=(width,) * shared["layers"],
    )  # fmt: skip


FAMILY = replace(
    mixtures.FAMILY,
    read_config=read_config,
    gguf=replace(
        mixtures.GGUF,
        keys=mixtures.GGUF.keys | qwen2_moe.KEYS,
        say=partial(qwen2_moe.say, normalised=True),
    ),
)

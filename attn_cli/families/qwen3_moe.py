"""Qwen3 as a mixture of experts, none of which every token passes. Qwen team 2025."""

from dataclasses import replace
from functools import partial

from attn_cli.families import llama, mixtures, qwen2_moe
from attn_cli.model.config import ConfigReader


def read_config(reader: ConfigReader) -> mixtures.Config:
    reader = reader.with_defaults({"num_key_value_heads": 4})
    reader.take("num_experts", "num_local_experts")
    shared, bias = llama.common(reader), reader.flag("attention_bias", False)
    used = reader.flag("use_sliding_window", False)
    width = llama.seen(reader, llama.window_width(reader, used=used))
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

"""Qwen3: Llama with an RMS norm on every query and key before rotation. Qwen team 2025."""

from dataclasses import replace

from attn_cli.families import llama, llama_gguf
from attn_cli.model.config import ConfigReader


def read_config(reader: ConfigReader) -> llama.Config:
    reader = reader.with_defaults({"num_key_value_heads": 32})
    shared, bias = llama.common(reader, head_dim=128), reader.flag("attention_bias", False)
    windows = llama.layer_windows(reader, shared["layers"])
    reader.finish(llama.HARMLESS)
    biases = {"qkv_bias": bias, "output_bias": bias}
    return llama.Config(**shared, **biases, head_norm=True, windows=windows)


FAMILY = replace(llama.FAMILY, read_config=read_config, gguf=llama_gguf.GGUF)

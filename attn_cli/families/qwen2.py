"""Qwen2: Llama with biases on q, k and v. Qwen team 2024."""

from dataclasses import replace

from attn_cli.families import llama, llama_gguf
from attn_cli.model.config import ConfigReader


def read_config(reader: ConfigReader) -> llama.Config:
    reader = reader.with_defaults({"num_key_value_heads": 32})
    shared = llama.common(reader)
    windows = llama.layer_windows(reader, shared["layers"])
    reader.finish(llama.HARMLESS)
    return llama.Config(**shared, qkv_bias=True, windows=windows)


FAMILY = replace(llama.FAMILY, read_config=read_config, gguf=llama_gguf.GGUF)

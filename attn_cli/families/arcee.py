"""Arcee's AFM: Llama with a network that is not gated, and squared ReLU. Arcee AI 2025."""

from dataclasses import replace

from attn_cli.families import llama, llama_gguf
from attn_cli.model.config import ConfigReader

# What the reference's config class has where config.json leaves a key out.
_DEFAULTS = {"rms_norm_eps": 1e-5, "hidden_act": "relu2"}


def read_config(reader: ConfigReader) -> llama.Config:
    reader = reader.with_defaults(_DEFAULTS)
    config = llama.Config(**llama.plain(reader), gated=False)
    reader.finish(llama.HARMLESS)
    return config


FAMILY = replace(
    llama.FAMILY,
    read_config=read_config,
    gguf=replace(llama_gguf.GGUF, arrange=llama_gguf.unpaired_rows),
)

"""Ministral: Mistral with a window in some of its layers. Mistral AI 2024."""

from dataclasses import replace

from attn_cli.families import llama
from attn_cli.model.config import ConfigReader

# What the reference's config class has where config.json leaves a key out.
_DEFAULTS = {"num_key_value_heads": 8, "sliding_window": 4096}


def read_config(reader: ConfigReader) -> llama.Config:
    reader = reader.with_defaults(_DEFAULTS)
    reader.integer("head_dim")  # the reference fails without it
    shared = llama.common(reader)
    width = reader.integer("sliding_window")  # the reference fails where it is null
    slides = llama.sliding(reader, shared["layers"]) or (True,) * shared["layers"]
    reader.finish(llama.HARMLESS)
    return llama.Config(**shared, windows=llama.windowed(width, slides))


# Its GGUF files call themselves llama.
FAMILY = replace(llama.FAMILY, read_config=read_config, gguf=None)

"""Mistral: Llama with a sliding window. Jiang et al. 2023."""

from dataclasses import replace

from attn_cli.families import llama, ministral
from attn_cli.model.config import ConfigReader


def read_config(reader: ConfigReader) -> llama.Config:
    if reader.says("layer_types"):  # as the reference takes it
        return ministral.read_config(reader)
    reader = reader.with_defaults({"num_key_value_heads": 8})
    shared = llama.common(reader)
    windows = (llama.seen(reader, llama.window_width(reader)),) * shared["layers"]
    reader.finish(llama.HARMLESS)
    return llama.Config(**shared, windows=windows)


# Its GGUF files call themselves llama.
FAMILY = replace(llama.FAMILY, read_config=read_config, gguf=None)

"""IQuest-Coder: Llama under another name. IQuest Lab 2025."""

from dataclasses import replace

from attn_cli.families import llama
from attn_cli.model.config import ConfigReader

# What the reference's config class has where config.json leaves a key out.
_DEFAULTS = {"num_key_value_heads": 8, "head_dim": 128, "rms_norm_eps": 1e-5}


def read_config(reader: ConfigReader) -> llama.Config:
    reader = reader.with_defaults(_DEFAULTS)
    config = llama.Config(**llama.plain(reader))
    # The reference refuses them too.
    reader.only("clip_qkv")
    reader.only("use_sliding_window", False)
    reader.finish(llama.HARMLESS)
    return config


# Its GGUF files call themselves llama.
FAMILY = replace(llama.FAMILY, read_config=read_config, gguf=None)

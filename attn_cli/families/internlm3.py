"""InternLM3: Llama with other names for its biases. Shanghai AI Laboratory 2025."""

from dataclasses import replace

from attn_cli.families import llama
from attn_cli.model.config import ConfigReader

# What the reference's config class has where config.json leaves a key out.
_DEFAULTS = {"num_key_value_heads": 2, "head_dim": 128, "rms_norm_eps": 1e-5}


def read_config(reader: ConfigReader) -> llama.Config:
    reader = reader.with_defaults(_DEFAULTS)
    reader.take("attention_bias", "qkv_bias")
    reader.take("mlp_bias", "bias")
    config = llama.Config(**llama.plain(reader))
    if config.qkv_bias != config.mlp_bias:
        names = " and ".join(reader.named(key) for key in ("attention_bias", "mlp_bias"))
        raise reader.error(
            f"{names} differ: biases on queries, keys and values alone are not known",
            "the reference has all biases of a layer, or none",
        )
    reader.finish(llama.HARMLESS)
    return config


# Its GGUF files call themselves llama.
FAMILY = replace(llama.FAMILY, read_config=read_config, gguf=None)

"""Helium: Llama whose neighbouring dimensions rotate together. Kyutai 2025."""

from dataclasses import replace

from attn_cli.families import llama
from attn_cli.model.config import ConfigReader

# What the reference's config class has where config.json leaves a key out.
_DEFAULTS = {
    "num_key_value_heads": 20, "head_dim": 128, "rms_norm_eps": 1e-8, "rope_theta": 100_000.0,
}  # fmt: skip


def read_config(reader: ConfigReader) -> llama.Config:
    reader = reader.with_defaults(_DEFAULTS)
    config = llama.Config(**llama.plain(reader))
    reader.finish(llama.HARMLESS)
    rope = replace(config.rope, interleaved=True)
    return replace(config, rope=rope, output_bias=False)


FAMILY = replace(llama.FAMILY, read_config=read_config, gguf=None)

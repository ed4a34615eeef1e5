"""Qwen3-VL, its text: Qwen3 with positions in three rows, as `qwen2_vl`. Qwen team 2025."""

from dataclasses import replace

from attn_cli.families import llama, qwen2_vl
from attn_cli.model.config import ConfigReader
from attn_cli.model.rope import rope_section

# What the reference's class has where config.json leaves a key out.
_DEFAULTS = {
    "vocab_size": 151_936, "max_position_embeddings": 128_000, "num_key_value_heads": 32,
    "rope_theta": 500_000.0,
}  # fmt: skip


def read_config(reader: ConfigReader) -> llama.Config:
    reader = reader.with_defaults(_DEFAULTS)
    shared, bias = llama.sizes(reader, head_dim=128), reader.flag("attention_bias", False)
    section = rope_section(reader)
    # They interleave the rows as far as there are dimensions: of equal rows, any three do.
    section.integers("mrope_section", 3, high=1 << 16)
    rope = qwen2_vl.rope_in_rows(reader, section, shared)
    reader.finish(llama.HARMLESS)
    windows = (0,) * shared["layers"]
    biases = {"qkv_bias": bias, "output_bias": bias}
    return llama.Config(**shared, **rope, **biases, head_norm=True, windows=windows)


FAMILY = replace(llama.FAMILY, read_config=read_config, gguf=qwen2_vl.GGUF)

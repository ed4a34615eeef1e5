"""Code World Model: Llama with a window in three layers of four. Meta FAIR 2025."""

from dataclasses import replace

from attn_cli.families import llama
from attn_cli.model.config import ConfigReader
from attn_cli.model.rope import read_rope

# What the reference's config class has where config.json leaves a key out.
_DEFAULTS = {
    "num_key_value_heads": 8, "head_dim": 128, "rms_norm_eps": 1e-5, "sliding_window": 8192,
    "rope_theta": 1_000_000.0,
}  # fmt: skip
_ROPE = {
    "rope_type": "llama3", "rope_theta": 1_000_000.0, "factor": 16.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
}  # fmt: skip
_PERIOD = 4


def read_config(reader: ConfigReader) -> llama.Config:
    reader = reader.with_defaults(_DEFAULTS)
    shared = llama.sizes(reader)
    layers, width = shared["layers"], reader.integer("sliding_window")
    slides = llama.sliding(reader, layers) or [layer % _PERIOD > 0 for layer in range(layers)]
    config = llama.Config(
        **shared,
        rope=read_rope(reader, shared["head_width"], shared["context"], _ROPE),
        mlp_bias=reader.flag("mlp_bias", False),
        windows=llama.windowed(width, slides),
    )
    reader.finish(llama.HARMLESS | {"pretraining_tp"})
    return config


FAMILY = replace(llama.FAMILY, read_config=read_config, gguf=None)

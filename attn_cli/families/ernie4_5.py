"""ERNIE 4.5: Llama whose neighbouring dimensions rotate together. Baidu 2025."""

from dataclasses import replace

from attn_cli.families import llama, llama_gguf
from attn_cli.model.config import ConfigReader

# What the reference's config class has where config.json leaves a key out.
_DEFAULTS = {
    "num_key_value_heads": 2, "head_dim": 128, "rms_norm_eps": 1e-5, "rope_theta": 500_000.0,
    "tie_word_embeddings": True,
}  # fmt: skip


def read_config(reader: ConfigReader) -> llama.Config:
    reader = reader.with_defaults(_DEFAULTS)
    shared, bias = llama.common(reader), reader.flag("use_bias", False)
    reader.finish(llama.HARMLESS)
    return llama.Config(
        **{**shared, "rope": replace(shared["rope"], interleaved=True)},
        qkv_bias=bias,
        output_bias=bias,
        mlp_bias=bias,
        windows=(0,) * shared["layers"],
    )


FAMILY = replace(llama.FAMILY, read_config=read_config, gguf=llama_gguf.GGUF)

"""Qwen2-VL and Qwen2.5-VL, their text: Qwen2 with positions in three rows. Wang et al. 2024.

A picture's tokens have a time, a height and a width. Those of a text have three equal positions, so
that the dimensions, shared out among the rows by `mrope_section`, rotate as in any other model.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from attn_cli.families import llama, llama_gguf
from attn_cli.model.config import ConfigReader
from attn_cli.model.gguf import Gguf
from attn_cli.model.rope import rope_of_whole_heads, rope_section

# What the reference's class has where config.json leaves a key out.
_DEFAULTS = {
    "vocab_size": 152_064, "max_position_embeddings": 32_768, "num_key_value_heads": 8,
    "rms_norm_eps": 1e-5, "max_window_layers": 80, "rope_theta": 1_000_000.0,
}  # fmt: skip
_SHARES = (16, 24, 24)


def read_config(reader: ConfigReader) -> llama.Config:
    reader = reader.with_defaults(_DEFAULTS)
    shared = llama.sizes(reader)
    # The reference rotates heads of this width and makes them of the width shared.
    reader.equal_shares("hidden_size", "num_attention_heads")
    reader.only("head_dim", shared["model_width"] // shared["heads"])
    windows = llama.layer_windows(reader, shared["layers"])
    section = rope_section(reader, {"mrope": "default"})
    shares = section.integers("mrope_section", 1, high=1 << 16) or _SHARES
    if sum(shares) != shared["head_width"] // 2:
        half = shared["head_width"] // 2
        raise section.error(f"mrope_section {[*shares]} does not add up to {half}, half of a head")
    rope = rope_in_rows(reader, section, shared)
    reader.finish(llama.HARMLESS)
    return llama.Config(**shared, **rope, qkv_bias=True, windows=windows)


def rope_in_rows(
    reader: ConfigReader, section: ConfigReader, shared: Mapping[str, Any]
) -> dict[str, Any]:
    """The field `rope`, of a section whose shares of the rows are judged."""
    plain = section.without("mrope_section", "mrope_interleaved")
    base = plain.positive("rope_theta", reader.positive("rope_theta"))
    return {
        "rope": rope_of_whole_heads(plain, reader, base, shared["head_width"], shared["context"])
    }


def say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    """Llama's way; any shares of equal rows are as good as these, and the base is llama.cpp's."""
    llama_gguf.say(reader, values, tensors)
    values.setdefault("rope_theta", 10_000.0)
    values["rope_scaling"]["mrope_section"] = [values["head_dim"] // 2, 0, 0]


# By llama.cpp's converter and by Ollama's, which calls Qwen2.5-VL qwen25vl and packs all in one.
_OF_PICTURES = {"rope.dimension_sections", "rope.mrope_section", "n_deepstack_layers", "vision"}
GGUF: Gguf = replace(llama_gguf.GGUF, harmless=llama_gguf.GGUF.harmless | _OF_PICTURES, say=say)

FAMILY = replace(llama.FAMILY, read_config=read_config, gguf=GGUF)

"""Gemma 3, its text: Gemma 2 with a norm on queries and keys and two ways of rotating.

Gemma Team 2025. Five layers of six have a window and rotate fast; the sixth sees everything and
rotates slowly.
"""

from dataclasses import replace
from functools import partial

from attn_cli.families import gemma2
from attn_cli.families.gemma2 import HARMLESS, Config, LeftOut, gemma_config
from attn_cli.families.llama import KINDS, sizes
from attn_cli.model.config import ConfigReader
from attn_cli.model.rope import Rope, rope_of_whole_heads, sections_by_kind

# What the reference's config class has where config.json leaves a key out; a null cap is none.
_DEFAULTS = {
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262_208,
    "hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 131_072,
    "tie_word_embeddings": True, "sliding_window": 4096, "query_pre_attn_scalar": 256,
    "sliding_window_pattern": 6,
}  # fmt: skip
_SLOW, _FAST = 1_000_000.0, 10_000.0


def read_config(reader: ConfigReader) -> Config:
    reader = reader.with_defaults(_DEFAULTS)
    shared = sizes(reader, activation="hidden_activation")
    period = reader.integer("sliding_window_pattern")
    reader.integer("_sliding_window_pattern", period)
    reader.only("attn_logit_softcapping")  # the reference does not read it here
    bases = (reader.positive("rope_theta", _SLOW), reader.positive("rope_local_base_freq", _FAST))
    ropes = ropes_by_kind(reader, bases, shared["head_width"], shared["context"])
    config = replace(gemma_config(reader, shared, *ropes, period), head_norm=True)
    reader.finish(HARMLESS)
    return config


def ropes_by_kind(
    reader: ConfigReader, bases: tuple[float, float], width: int, context: int
) -> tuple[Rope, Rope]:
    """How layers without a window rotate, and how those with one do; `bases` of both if unsaid."""
    sections = sections_by_kind(reader, KINDS, scaled=KINDS[:1])
    return tuple(
        rope_of_whole_heads(section, reader, section.positive("rope_theta", base), width, context)
        for section, base in zip(sections, bases, strict=True)
    )


_LEFT_OUT = LeftOut(period=6, wide_layers=62, local_base=10_000.0)
_OF_PICTURES = ("vision", "mm")

FAMILY = replace(
    gemma2.FAMILY,
    read_config=read_config,
    gguf=replace(
        gemma2.GGUF,
        # The last two are how Ollama's own files name the bases.
        keys=gemma2.GGUF.keys
        | {
            "rope.freq_base_swa": "rope_local_base_freq",
            "rope.local.freq_base": "rope_local_base_freq",
            "rope.global.freq_base": "rope_theta",
        },
        harmless=gemma2.GGUF.harmless | {*_OF_PICTURES},
        say=partial(gemma2.say, left_out=_LEFT_OUT),
    ),
)

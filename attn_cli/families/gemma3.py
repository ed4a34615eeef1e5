"""Gemma 3, its text: Gemma 2 with a norm on queries and keys and two ways of turning.

Gemma Team 2025. Five layers of six have a window and turn fast; the sixth sees everything and
turns slowly. A checkpoint that also sees pictures is read for its text alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from attn_cli.checkpoints.gguf import Gguf
from attn_cli.errors import ContentError
from attn_cli.families import gemma2, llama
from attn_cli.families.gemma2 import (
    HARMLESS,
    Config,
    LeftOut,
    forward,
    gemma_config,
    layer_windows,
    predict,
    said_in_gguf,
    tensor_shapes,
    with_defaults,
)  # fmt: skip
from attn_cli.families.llama import sizes
from attn_cli.families.llama_gguf import read_gguf
from attn_cli.model.config import ConfigReader
from attn_cli.model.rope import Rope, scaled_rope
from attn_cli.model.weights import Naming, Stored

__all__ = ["forward", "naming", "open_gguf", "predict", "read_config", "tensor_shapes"]
# What the reference's config class has where config.json leaves a key out; a null cap is none.
_DEFAULTS = {
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262_208,
    "hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 131_072,
    "tie_word_embeddings": True, "sliding_window": 4096, "query_pre_attn_scalar": 256,
    "sliding_window_pattern": 6,
}  # fmt: skip
_SLOW, _FAST = 1_000_000.0, 10_000.0
# The keys of a config for pictures and text that are about pictures.
_OF_PICTURES = frozenset(
    """
    boi_token_index eoi_token_index image_token_index image_token_id mm_tokens_per_image
    vision_config
    """.split()
)
_LEFT_OUT = LeftOut(period=6, wide_layers=62, local_base=10_000.0)
# The last two are how Ollama's own files name the bases.
_GGUF_KEYS = gemma2.GGUF_KEYS | {
    "rope.freq_base_swa": "rope_local_base_freq",
    "rope.local.freq_base": "rope_local_base_freq",
    "rope.global.freq_base": "rope_theta",
}
_GGUF_OF_PICTURES = frozenset({"vision", "mm", "v"})


def read_config(values: Mapping[str, Any], where: str, ignored: Iterable[str] = ()) -> Config:
    """Raises ContentError for a config that cannot be honoured exactly."""
    pictures = "text_config" in values
    if pictures:
        outer = ConfigReader(values, where)
        tied = outer.flag("tie_word_embeddings", True)
        values = {**outer.mapping("text_config"), "tie_word_embeddings": tied}
        outer.finish(_OF_PICTURES | {"initializer_range"}, ignored)
        where = f"{where}: text_config"
    reader = ConfigReader(with_defaults(values, _DEFAULTS), where)
    shared = sizes(reader, where, activation="hidden_activation")
    width, context = shared["head_width"], shared["context"]
    ropes = _ropes(reader, width, context, where, ignored)
    config = replace(gemma_config(reader, shared, *ropes), qk_norm=True)
    if config.attention_cap:
        raise ContentError(f"{where}: attn_logit_softcapping is set, which the reference ignores")
    if pictures and config.logit_cap:
        raise ContentError(f"{where}: final_logit_softcapping is set, which the reference ignores")
    period = reader.integer("sliding_window_pattern")
    reader.integer("_sliding_window_pattern", period)
    config = replace(config, windows=layer_windows(reader, config.layers, period))
    reader.finish(HARMLESS, ignored)
    return config


def _ropes(
    reader: ConfigReader, width: int, context: int, where: str, ignored: Iterable[str]
) -> tuple[Rope, Rope]:
    """How layers without a window turn, and how those with one do.

    Since 5.x each kind of layer has a section of its own; before, only the former was scaled.
    """
    slow, fast = (
        reader.positive("rope_theta", _SLOW),
        reader.positive("rope_local_base_freq", _FAST),
    )
    newer = reader.mapping("rope_parameters")
    nested = newer.keys() & {"full_attention", "sliding_attention"}
    kinds = ConfigReader(newer, f"{where}: rope_parameters")
    sections = [
        ConfigReader(kinds.mapping(kind), f"{kinds.where}: {kind}")
        for kind in ("full_attention", "sliding_attention")
    ]
    older = reader.mapping("rope_scaling")
    if newer and (not nested or older):
        raise ContentError(
            f"{kinds.where} is not by kind of layer"
            if older == {}
            else f"{where}: rope_parameters and rope_scaling contradict each other",
            "the reference has full_attention and sliding_attention in rope_parameters",
        )
    kinds.finish(frozenset(), ignored)
    if older:
        sections[0] = ConfigReader(older, f"{where}: rope_scaling")
    return tuple(
        scaled_rope(section, reader, section.positive("rope_theta", base), width, context, ignored)
        for section, base in zip(sections, (slow, fast), strict=True)
    )


def naming(config: Config) -> Naming:
    """As Llama's, or behind the names of a checkpoint that also sees pictures."""
    plain = llama.naming(config)
    prefixes = ("language_model.model.", "model.language_model.", "language_model.")
    pictures = ("*vision_tower.*", "*multi_modal_projector.*")
    return plain._replace(
        prefixes=(*prefixes, *plain.prefixes), left_out=(*plain.left_out, *pictures)
    )


def open_gguf(
    found: Gguf, architecture: str, ignored: Iterable[str] = ()
) -> tuple[Config, dict[str, Stored]]:
    """The config and tensors of a GGUF file, which holds gains whole."""

    def read(values: Mapping[str, Any], where: str) -> Config:
        return read_config(said_in_gguf(values, where, _LEFT_OUT), where)

    config, stored = read_gguf(
        found, architecture, read, ignored, keys=_GGUF_KEYS, tensors=gemma2.GGUF_TENSORS,
        harmless=_GGUF_OF_PICTURES,
    )  # fmt: skip
    return replace(config, gain_base=0.0), stored

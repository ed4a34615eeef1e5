"""Cohere 2: Command R with a window in three of four layers; the fourth has no positions. 2024."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from attn_cli.families import cohere, llama, llama_gguf
from attn_cli.families.gemma2 import layer_windows
from attn_cli.model.config import ConfigReader

# The base of its class is not Command R's.
_DEFAULTS = {**cohere.DEFAULTS, "rope_theta": 10_000.0, "sliding_window": 4096}
_PERIOD = 4


def read_config(reader: ConfigReader) -> cohere.Config:
    reader = reader.with_defaults(_DEFAULTS)
    shared = cohere.cohere_sizes(reader)
    period = reader.integer("sliding_window_pattern", _PERIOD)
    windows = layer_windows(reader, shared["layers"], period)
    reader.finish(llama.HARMLESS)
    return llama.unrotated_without_window(cohere.Config(**shared, windows=windows))


def _say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    llama_gguf.say(reader, values, tensors)
    values["sliding_window"] = reader.integer("window")


def _finish(
    config: cohere.Config, reader: ConfigReader, tensors: Mapping[str, Any]
) -> cohere.Config:
    config = llama_gguf.finish(config, reader, tensors)
    windows = llama_gguf.windows(reader, config.layers, _PERIOD)
    return llama.unrotated_without_window(replace(config, windows=windows))


FAMILY = replace(
    cohere.FAMILY,
    read_config=read_config,
    gguf=replace(
        llama_gguf.WINDOWED,
        keys=llama_gguf.layer_normed(llama_gguf.WINDOWED.keys) | cohere.SCALE,
        required=("logit_scale", "attention.sliding_window"),
        say=_say,
        finish=_finish,
    ),
)

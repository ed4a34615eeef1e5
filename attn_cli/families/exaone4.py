"""EXAONE 4: OLMo 2's order, with a norm on every query and key by itself. LG AI Research 2025.

Where there are windows, only the layers that have one rotate.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from attn_cli.families import llama, llama_gguf, olmo2
from attn_cli.model.config import ConfigReader
from attn_cli.model.tensors import MOST_LAYERS

_DEFAULTS = {"num_key_value_heads": 32, "rms_norm_eps": 1e-5, "sliding_window": 4096}


def read_config(reader: ConfigReader) -> olmo2.Config:
    reader = reader.with_defaults(_DEFAULTS)
    shared = llama.common(reader)
    windows = _windows(reader, shared["layers"])
    reader.finish(llama.HARMLESS | {"sliding_window", "sliding_window_pattern"})
    config = olmo2.Config(**shared, head_norm=True, windows=windows, local_rope=shared["rope"])
    return llama.unrotated_without_window(config) if reader.has("sliding_window") else config


def _windows(reader: ConfigReader, layers: int) -> tuple[int, ...]:
    """As `layer_types` says; without it all but every so many layers have the window."""
    slides = llama.sliding(reader, layers)
    if not slides:
        # The reference has no rule for layers without a window.
        width = reader.integer("sliding_window")
        period = reader.integer("sliding_window_pattern", 4)
        return llama.windowed(width, ((layer + 1) % period != 0 for layer in range(layers)))
    return llama.windowed(reader.integer("sliding_window") if any(slides) else 0, slides)


def _say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    llama_gguf.say(reader, values, tensors)
    layers = reader.integer("num_hidden_layers", high=MOST_LAYERS)
    values |= {"sliding_window": None, "layer_types": [llama.KINDS[0]] * layers}


def _finish(config: olmo2.Config, reader: ConfigReader, tensors: Mapping[str, Any]) -> olmo2.Config:
    """Windows as OLMo 2's, but one rotation, which the file's factors slow everywhere."""
    config = olmo2.finish(config, reader, tensors)
    config = replace(config, local_rope=config.rope)
    return llama.unrotated_without_window(config) if any(config.windows) else config


FAMILY = replace(
    olmo2.FAMILY,
    read_config=read_config,
    gguf=replace(olmo2.GGUF, keys=llama_gguf.WINDOWED.keys, say=_say, finish=_finish),
)

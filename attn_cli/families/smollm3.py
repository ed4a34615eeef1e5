"""SmolLM3: Llama without rotation in every fourth layer. Bakouch et al. 2025."""

from dataclasses import replace

from attn_cli.families import llama, llama_gguf
from attn_cli.model.config import ConfigReader

_DEFAULTS = {"num_key_value_heads": 4, "rope_theta": 2_000_000.0, "tie_word_embeddings": True}


def read_config(reader: ConfigReader) -> llama.Config:
    reader = reader.with_defaults(_DEFAULTS)
    shared = llama.plain(reader)
    layers = shared["layers"]
    period = reader.integer("no_rope_layer_interval", 4)
    # A 1 in the list of "no rope" is a layer that rotates.
    rotates = reader.integers("no_rope_layers", layers, high=1)
    rotates = rotates or tuple((layer + 1) % period for layer in range(layers))
    unrotated = tuple(layer for layer in range(layers) if not rotates[layer])
    windows = _windows(reader, layers, unrotated)
    config = llama.Config(**{**shared, "windows": windows}, unrotated=unrotated)
    reader.finish(llama.HARMLESS | {"sliding_window"})
    return config


def _windows(reader: ConfigReader, layers: int, unrotated: tuple[int, ...]) -> tuple[int, ...]:
    """As `layer_types` says; without it, the layers that do not rotate have the window."""
    used, given = reader.flag("use_sliding_window", False), reader.has("sliding_window")
    width = llama.window_width(reader, used=given)
    slides = [used and width is not None and layer in unrotated for layer in range(layers)]
    return llama.windows_as_named(reader, width, slides, used=True)


FAMILY = replace(
    llama.FAMILY,
    read_config=read_config,
    gguf=replace(llama_gguf.GGUF, arrange=llama_gguf.unpaired_rows),
)

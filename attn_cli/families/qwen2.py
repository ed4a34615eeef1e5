"""Qwen2: Llama with biases on q, k and v. Qwen team 2024."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from attn_cli.checkpoints.gguf import Gguf
from attn_cli.families.llama import (
    Config,
    common,
    forward,
    layer_windows,
    naming,
    predict,
    tensor_shapes,
)  # fmt: skip
from attn_cli.families.llama_gguf import read_gguf
from attn_cli.model.config import ConfigReader
from attn_cli.model.weights import Stored

__all__ = ["forward", "naming", "open_gguf", "predict", "read_config", "tensor_shapes"]
_HARMLESS = frozenset({"attention_dropout", "initializer_range"})


def read_config(values: Mapping[str, Any], where: str, ignored: Iterable[str] = ()) -> Config:
    """Raises ContentError for a config that cannot be honoured exactly."""
    reader = ConfigReader(values, where)
    config = Config(**common(reader, where, ignored), qkv_bias=True, windows=())
    config = replace(config, windows=layer_windows(reader, values, config.layers))
    reader.finish(_HARMLESS, ignored)
    return config


def open_gguf(
    found: Gguf, architecture: str, ignored: Iterable[str] = ()
) -> tuple[Config, dict[str, Stored]]:
    """The config and tensors of a GGUF file."""
    return read_gguf(found, architecture, read_config, ignored)

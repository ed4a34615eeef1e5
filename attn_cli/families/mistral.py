"""Mistral: Llama with a sliding window. Jiang et al. 2023."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from attn_cli.checkpoints.gguf import Gguf
from attn_cli.errors import ContentError
from attn_cli.families.config import ConfigReader
from attn_cli.families.llama import (
    PREFIX,
    Config,
    buffers,
    common,
    forward,
    predict,
    tensor_shapes,
    window_width,
)  # fmt: skip
from attn_cli.families.model import Stored

__all__ = ["PREFIX", "buffers", "forward", "open_gguf", "predict", "read_config", "tensor_shapes"]
_HARMLESS = frozenset({"attention_dropout", "initializer_range"})


def read_config(values: Mapping[str, Any], where: str, ignored: Iterable[str] = ()) -> Config:
    """Raises ContentError for a config that cannot be honoured exactly."""
    reader = ConfigReader(values, where)
    config = Config(**common(reader, where, ignored), windows=())
    config = replace(config, windows=(window_width(reader, values),) * config.layers)
    reader.finish(_HARMLESS, ignored)
    return config


def open_gguf(
    found: Gguf, architecture: str, ignored: Iterable[str] = ()
) -> tuple[Config, dict[str, Stored]]:
    """Raises ContentError: GGUF files of Mistral have the architecture llama."""
    raise ContentError(
        f"{found.path}: the architecture {architecture} is not what the converters write",
        "Mistral's GGUF files have the architecture llama",
    )

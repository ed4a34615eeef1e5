"""Mistral: Llama with a sliding window. Jiang et al. 2023."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from attn_cli.families.llama import (
    Config,
    common,
    forward,
    naming,
    predict,
    tensor_shapes,
    window_width,
)  # fmt: skip
from attn_cli.model.config import ConfigReader

__all__ = ["forward", "naming", "predict", "read_config", "tensor_shapes"]
_HARMLESS = frozenset({"attention_dropout", "initializer_range"})


def read_config(values: Mapping[str, Any], where: str, ignored: Iterable[str] = ()) -> Config:
    """Raises ContentError for a config that cannot be honoured exactly."""
    reader = ConfigReader(values, where)
    config = Config(**common(reader, where, ignored), windows=())
    config = replace(config, windows=(window_width(reader, values),) * config.layers)
    reader.finish(_HARMLESS, ignored)
    return config

"""RoBERTa, XLM-R and CamemBERT: BERT whose positions follow the padding token's id. Liu 2019."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np

from attn_cli.families import bert
from attn_cli.model.config import ConfigReader
from attn_cli.model.stack import Stack


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(bert.Config):
    """The numbers of a RoBERTa model; the row before the first position's is the padding's."""

    names: ClassVar[bert.Names] = bert.Names(
        prefix="roberta.",
        head="lm_head.dense",
        head_norm="lm_head.layer_norm",
        decoder="lm_head.decoder",
        output_bias="lm_head.bias",
    )


def read_config(reader: ConfigReader) -> Config:
    plain = bert.sizes(reader, head_activation="gelu")
    default = None if reader.says("pad_token_id") else 1
    first = reader.integer("pad_token_id", default, low=0, high=plain["context"] - 2) + 1
    bert.no_decoder(reader)
    reader.finish(bert.HARMLESS)
    return Config(**{**plain, "context": plain["context"] - first, "first_position": first})


def rows(config: Config, stack: Stack) -> Sequence[int]:
    """Padding tokens in the text share the row before the first, and no position counts them."""
    padding = config.first_position - 1
    ids, positions = np.array(stack.ids), np.array(stack.positions)
    counted = np.maximum(positions - np.cumsum(ids == padding), 0)
    return np.where(ids == padding, padding, config.first_position + counted).tolist()


FAMILY = replace(
    bert.FAMILY,
    read_config=read_config,
    forward=partial(bert.forward, rows=rows),
    gguf=None,  # the converter writes it as BERT
    head=("lm_head.*",),
    output_bias=Config.names.output_bias,
)

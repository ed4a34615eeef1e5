"""ELECTRA: BERT whose embedding may be narrower than the model. Clark et al. 2020.

Its generator fills masks; its discriminator, which tells the words that were put in, does not.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from attn_cli.families import bert
from attn_cli.model.config import ConfigReader
from attn_cli.model.tensors import OUTPUT

_NAMES = bert.Names(
    prefix="electra.",
    head="generator_predictions.dense",
    head_norm="generator_predictions.LayerNorm",
    decoder="generator_lm_head",
    output_bias="generator_lm_head.bias",
)
# The summary keys belong to a classification head.
_OF_HEADS = {"summary_activation", "summary_last_dropout", "summary_type", "summary_use_proj"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(bert.Config):
    """The numbers of an ELECTRA model."""

    names: ClassVar[bert.Names] = _NAMES

    @property
    def projection(self) -> str:
        return "embeddings_project" if self.embedding_width != self.model_width else ""


def read_config(reader: ConfigReader) -> Config:
    narrow = reader.integer("embedding_size", 128)
    config = Config(**bert.sizes(reader, embedding_width=narrow, head_activation="gelu"))
    bert.no_decoder(reader)
    reader.finish(bert.HARMLESS | _OF_HEADS)
    return config


FAMILY = replace(
    bert.FAMILY,
    read_config=read_config,
    gguf=None,
    head=("generator_*", OUTPUT),
    output_bias=_NAMES.output_bias,
)

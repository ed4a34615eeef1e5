"""ALBERT: BERT with a narrower embedding and tensors that several layers share. Lan et al. 2019."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from attn_cli.families import bert
from attn_cli.model.config import ConfigReader
from attn_cli.model.family import Model
from attn_cli.model.stack import Stack
from attn_cli.model.tensors import OUTPUT, Shapes, of_layers
from attn_cli.model.weights import LayerWeights

_NAMES = bert.Names(
    prefix="albert.",
    layer="encoder.albert_layer_groups.*.",
    q="albert_layers.0.attention.query",
    k="albert_layers.0.attention.key",
    v="albert_layers.0.attention.value",
    attended="albert_layers.0.attention.dense",
    attended_norm="albert_layers.0.attention.LayerNorm",
    wide="albert_layers.0.ffn",
    narrow="albert_layers.0.ffn_output",
    narrow_norm="albert_layers.0.full_layer_layer_norm",
    head="predictions.dense",
    head_norm="predictions.LayerNorm",
    decoder="predictions.decoder",
    output_bias="predictions.bias",
)
_HARMLESS = bert.HARMLESS | set(
    """
    classifier_dropout_prob down_scale_factor gap_size net_structure_type num_memory_blocks
    """.split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(bert.Config):
    """The numbers of an ALBERT model, whose layers fall into `groups` that share their tensors."""

    names: ClassVar[bert.Names] = _NAMES
    groups: int

    @property
    def projection(self) -> str:
        return "encoder.embedding_hidden_mapping_in"


def read_config(reader: ConfigReader) -> Config:
    reader = reader.with_defaults({"hidden_act": "gelu_new"})
    reader.only("inner_group_num", 1, null=False)
    groups, narrow = reader.integer("num_hidden_groups", 1), reader.integer("embedding_size", 128)
    config = Config(**bert.sizes(reader, embedding_width=narrow), groups=groups)
    reader.finish(_HARMLESS)
    return config


def shapes(config: Config) -> Shapes:
    return of_layers(bert.shapes(config), replace(config, layers=config.groups))


def layers(model: Model, stack: Stack) -> Iterator[LayerWeights]:
    """The tensors of each layer, which are those of its group."""
    config, at = model.config, -1
    prefix = config.names.layer.removesuffix("*.")
    groups = model.weights.layers(prefix, config.groups - 1, len(stack.ids))
    for _ in stack.layers(""):  # counts them
        while at < int(stack.layer / (config.layers / config.groups)):
            parts, at = next(groups), at + 1
        yield parts


FAMILY = replace(
    bert.FAMILY,
    read_config=read_config,
    shapes=shapes,
    forward=partial(bert.forward, layers=layers),
    gguf=None,
    head=("predictions.*", OUTPUT),
    output_bias=_NAMES.output_bias,
)

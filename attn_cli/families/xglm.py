"""XGLM: token vectors times √width, plus waves of the position, not learned. Lin et al. 2022.

The reference scales the queries before the dot products; here the scores are scaled in step 4, as
everywhere, which gives the same numbers from there on.
"""

from dataclasses import dataclass, replace

import numpy as np

from attn_cli.families import biogpt
from attn_cli.maths.positions import waves
from attn_cli.model import prenorm
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.config import ConfigReader
from attn_cli.model.family import Model
from attn_cli.model.prenorm import Layout
from attn_cli.model.stack import Stack
from attn_cli.records import Facts

_OWN = {
    "hidden_size": "d_model", "num_hidden_layers": "num_layers",
    "num_attention_heads": "attention_heads",
}  # fmt: skip
_HARMLESS = frozenset("activation_dropout attention_dropout dropout init_std layerdrop".split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(prenorm.Config):
    """The numbers of an XGLM model. The row of its waves with the number `zero_row` is zeros."""

    zero_row: int


def read_config(reader: ConfigReader) -> Config:
    found = prenorm.sizes(reader, _OWN)
    if found["model_width"] < 4:
        raise reader.error(
            f"d_model {found['model_width']} is too narrow for waves of the position"
        )
    scaled = reader.flag("scale_embedding", True)
    nowhere = reader.says("pad_token_id") and not reader.has("pad_token_id")
    config = Config(
        **found,
        inner_width=reader.integer("ffn_dim"),
        epsilon=biogpt.EPSILON,
        activation=reader.choice("activation_function", ACTIVATIONS, "gelu"),
        tied=reader.flag("tie_word_embeddings", True),
        embedding_factor=found["model_width"] ** 0.5 if scaled else 1.0,
        zero_row=-1 if nowhere else reader.integer("pad_token_id", 1, low=0),
    )
    reader.only("add_cross_attention", False)
    reader.finish(_HARMLESS)
    return config


def describe(facts: Facts, config: Config) -> Facts:
    return replace(
        prenorm.describe(_LAYOUT, facts, config), embedding="sum", positions="sinusoidal"
    )


def _placed(layout: Layout, model: Model, stack: Stack) -> np.ndarray:
    """The waves of each position; the row that the padding token's id names is zeros."""
    rows = np.array(stack.positions) + layout.first_row
    return waves(rows, model.config.model_width) * (rows != model.config.zero_row)[:, None]


_LAYOUT = replace(
    biogpt.LAYOUT,
    positions="",
    placed=_placed,
    prefixes=("model.",),
    older={},
    left_out=("*embed_positions.weights", "*embed_positions._float_tensor"),
)
FAMILY = prenorm.family(_LAYOUT, read_config, describe=describe)

"""MPT: no positions but a bias on the scores (ALiBi), and no biases of maps. MosaicML 2023.

The slope multiplies how far a key stands before the last one, so that each number of the bias
depends on the length of the text, though no weight does. `Wqkv` holds the rows of all queries, then
of all keys, then of all values.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from attn_cli.maths.attention import Relation
from attn_cli.maths.positions import alibi, alibi_slopes
from attn_cli.model import prenorm
from attn_cli.model.config import ConfigReader
from attn_cli.model.gguf import NEUTRAL, Gguf
from attn_cli.model.prenorm import Config, Layout
from attn_cli.model.stack import Stack
from attn_cli.records import Facts

_OWN = {
    "hidden_size": "d_model", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads",
}  # fmt: skip
# The reference reads these not: its network is four times as wide, its maps have no biases.
_HARMLESS = frozenset(
    """
    emb_pdrop embedding_fraction expansion_ratio init_device initializer_range learned_pos_emb
    logit_scale no_bias norm_type resid_pdrop
    """.split()
)
_OF_ATTENTION = frozenset("attn_impl attn_pdrop attn_uses_sequence_id model_type".split())
# The reference has 8, whatever a file says: another number is among the keys that it reads not.
_LARGEST = "alibi_bias_max"


def read_config(reader: ConfigReader) -> Config:
    reader = reader.with_defaults({"max_seq_len": 2048})
    reader.take("max_position_embeddings", "max_seq_len")
    found = prenorm.sizes(reader, _OWN)
    section = reader.section("attn_config")
    config = Config(
        **found,
        groups=1,
        inner_width=4 * found["model_width"],
        epsilon=reader.positive("layer_norm_epsilon", 1e-5),
        activation="gelu",
        tied=reader.flag("tie_word_embeddings", True),
        qkv_bias=False,
        output_bias=False,
        mlp_bias=False,
        norm_bias=False,
        scale=section.cap("softmax_scale"),
        clip=section.cap("clip_qkv"),
    )
    # The reference has these models only, whatever a file asks for.
    section.only("alibi", True)
    section.only("attn_type", "multihead_attention")
    section.only("prefix_lm", False)
    section.only("qk_ln", False)
    as_said = reader.section("attn_config").integer(_LARGEST, 8) == 8
    section.finish(_OF_ATTENTION | ({_LARGEST} if as_said else set()))
    reader.finish(_HARMLESS)
    return config


def describe(facts: Facts, config: Config) -> Facts:
    return replace(
        prenorm.describe(_LAYOUT, facts, config),
        positions="bias",
        alibi="distance",
        slopes=tuple(alibi_slopes(config.heads).tolist()),
        bounded=True,
    )


def _bias(config: Config, stack: Stack, dtype: np.dtype) -> Relation:
    slopes_H = alibi_slopes(config.heads).astype(dtype)
    return partial(alibi, slopes_H=slopes_H, last=stack.indices.stop - 1)


_LAYOUT = Layout(
    embedding="wte",
    layers="blocks.",
    norms=("norm_1", "norm_2"),
    fused="attn.Wqkv",
    out="attn.out_proj",
    mlp=("ffn.up_proj", "ffn.down_proj"),
    last="norm_f",
    prefixes=("transformer.",),
    bias=_bias,
)


# --- the same model in a GGUF file ---------------------------------------------------------------


def _say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    width, heads = reader.integer("d_model"), reader.integer("n_heads")
    for key, own in (("inner", 4 * width), ("kv_heads", heads)):
        if values.pop(key, own) != own:
            raise reader.error(
                f"{reader.named(key)} is not {own}, as in every model of this family"
            )
    values["attn_config"] = {"clip_qkv": values.pop("clip_qkv", 0) or None}


_GGUF = Gguf(
    keys={
        "block_count": "n_layers",
        "context_length": "max_seq_len",
        "embedding_length": "d_model",
        "feed_forward_length": "inner",
        "attention.head_count": "n_heads",
        "attention.head_count_kv": "kv_heads",
        "attention.layer_norm_epsilon": "layer_norm_epsilon",
        "attention.clamp_kqv": "clip_qkv",
    },
    neutral=NEUTRAL | {"attention.max_alibi_bias": (8,)},
    required=("attention.max_alibi_bias",),
    tensors=prenorm.gguf_tensors(_LAYOUT),
    say=_say,
)

FAMILY = prenorm.family(_LAYOUT, read_config, describe=describe, gguf=_GGUF)

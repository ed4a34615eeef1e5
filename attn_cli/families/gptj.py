"""GPT-J: attention and network beside each other, after one norm. Wang and Komatsuzaki 2021.

Of each head the first `rotary_dim` dimensions rotate, neighbours together.
"""

from dataclasses import replace
from typing import Any

from attn_cli.maths.positions import frequencies
from attn_cli.model import prenorm
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.config import ConfigReader
from attn_cli.model.family import Family
from attn_cli.model.prenorm import Config, Layout
from attn_cli.model.rope import Rope
from attn_cli.records import Facts

OWN = {
    "hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head",
    "max_position_embeddings": "n_positions",
}  # fmt: skip
_HARMLESS = frozenset({"attn_pdrop", "embd_pdrop", "initializer_range", "resid_pdrop"})
_BASE = 10000.0  # the reference's own, which no config changes
LAYOUT = Layout(
    embedding="wte",
    layers="h.",
    norms=("ln_1", ""),
    qkv=("attn.q_proj", "attn.k_proj", "attn.v_proj"),
    out="attn.out_proj",
    mlp=("mlp.fc_in", "mlp.fc_out"),
    last="ln_f",
    prefixes=("transformer.",),
    left_out=("*.attn.bias", "*.attn.masked_bias"),
)


def read_config(reader: ConfigReader) -> Config:
    config = config_of(reader, prenorm.sizes(reader, OWN))
    reader.finish(_HARMLESS)
    return config


def config_of(reader: ConfigReader, found: dict[str, Any], groups: int = 0) -> Config:
    """The keys that GPT-J and CodeGen have; `groups` of the fused matrix of q, k and v."""
    rotary = reader.integer("rotary_dim", 64, high=found["head_width"])
    if rotary % 2:
        raise reader.error(f"rotary_dim {rotary} is odd", "rotary positions turn pairs of numbers")
    plain = frequencies(rotary, _BASE)
    return Config(
        **found,
        groups=groups,
        inner_width=reader.integer("n_inner", 4 * found["model_width"]),
        epsilon=reader.positive("layer_norm_epsilon", 1e-5),
        activation=reader.choice("activation_function", ACTIVATIONS, "gelu_new"),
        tied=reader.flag("tie_word_embeddings", False),
        qkv_bias=False,
        output_bias=False,
        logit_bias=True,
        parallel=True,
        one_norm=True,
        rope=Rope(frequencies=tuple(plain.tolist()), interleaved=True),
    )


def family(layout: Layout, read: Any) -> Family:
    """The family of a layout, whose angles stand in a table as long as the context."""

    def describe(facts: Facts, config: Config) -> Facts:
        return replace(prenorm.describe(layout, facts, config), bounded=True)

    return prenorm.family(layout, read, describe=describe)


FAMILY = family(LAYOUT, read_config)

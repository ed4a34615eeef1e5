"""Persimmon: each query and key is normalised, half of their dimensions rotate; squared ReLU.

Elsen et al. 2023. `query_key_value` holds a head's query, key and value rows, then the next head's.
"""

from attn_cli.model import prenorm
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.config import ConfigReader
from attn_cli.model.prenorm import Config, Layout

_HARMLESS = frozenset({"attention_dropout", "hidden_dropout", "initializer_range"})
_LAYOUT = Layout(
    fused="self_attn.query_key_value",
    out="self_attn.dense",
    mlp=("mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
    last="final_layernorm",
)


def read_config(reader: ConfigReader) -> Config:
    found = prenorm.sizes(reader)
    head_norm = reader.flag("qk_layernorm", True)
    reader.only("head_dim", found["head_width"])
    config = Config(
        **found,
        groups=found["heads"],
        inner_width=reader.integer("intermediate_size"),
        epsilon=reader.positive("layer_norm_eps", 1e-5),
        activation=reader.choice("hidden_act", ACTIVATIONS, "relu2"),
        tied=reader.flag("tie_word_embeddings", False),
        head_norm=head_norm,
        head_norm_bias=head_norm,
        rope=prenorm.partial_rope(reader, found, 0.5, odd=False),
    )
    reader.finish(_HARMLESS)
    return config


FAMILY = prenorm.family(_LAYOUT, read_config)

"""GPT-NeoX and Pythia: the MLP beside the attention, a quarter of each head rotated. Black 2022.

`query_key_value` holds a head's query, key and value rows, then the next head's.
"""

from collections.abc import Mapping
from typing import Any

from attn_cli.model import prenorm
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.config import ConfigReader
from attn_cli.model.gguf import Gguf, fused_rows
from attn_cli.model.prenorm import Config, Layout
from attn_cli.model.rope import rope_section, rotated_width, scaled_rope
from attn_cli.model.tensors import OUTPUT

_HARMLESS = frozenset(
    """
    attention_dropout attention_probs_dropout_prob classifier_dropout hidden_dropout
    hidden_dropout_prob initializer_range is_decoder
    """.split()
)
# Stored masks and frequencies carry nothing. Published files call the output `embed_out`.
_LAYOUT = Layout(
    embedding="embed_in",
    fused="attention.query_key_value",
    out="attention.dense",
    mlp=("mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
    last="final_layer_norm",
    prefixes=("gpt_neox.",),
    left_out=("*.attention.bias", "*.attention.masked_bias", "*.rotary_emb.inv_freq"),
    older={"embed_out.weight": OUTPUT},
)


def read_config(reader: ConfigReader) -> Config:
    found = prenorm.sizes(reader)
    head = found["head_width"]
    reader.only("head_dim", head)
    section = rope_section(reader)
    rotating = rotated_width(section, reader, "rotary_pct", 0.25, head)
    base = section.positive("rope_theta", reader.positive("rotary_emb_base", 10000.0))
    share = section.positive("partial_rotary_factor", reader.positive("rotary_pct", 0.25))
    # Files of 4.46 to 4.57 repeat both; the reference reads neither.
    for key, value in (("rope_theta", base), ("partial_rotary_factor", share)):
        if reader.positive(key, value) != value:
            raise reader.error(f"{key} is not the {value:g} that the reference uses")
    bias = reader.flag("attention_bias", True)
    config = Config(
        **found,
        groups=found["heads"],
        inner_width=reader.integer("intermediate_size"),
        epsilon=reader.positive("layer_norm_eps", 1e-5),
        activation=reader.choice("hidden_act", ACTIVATIONS, "gelu"),
        qkv_bias=bias,
        output_bias=bias,
        parallel=reader.flag("use_parallel_residual", True),
        tied=reader.flag("tie_word_embeddings", False),
        rope=scaled_rope(section, reader, base, rotating, found["context"]),
    )
    reader.finish(_HARMLESS)
    return config


# --- the same model in a GGUF file, whose fused rows are all queries, keys, values ---------------


def _say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    head = reader.integer("hidden_size") // reader.integer("num_attention_heads") or 1
    rotating = reader.integer("rotated", head, high=head)
    values.pop("rotated", 0)
    # A half more, since a share of the width is cut to a whole number of dimensions.
    values["rotary_pct"] = 1.0 if rotating == head else (rotating + 0.5) / head
    values["attention_bias"] = "blk.0.attn_output.bias" in tensors


_GGUF = Gguf(
    keys={
        "block_count": "num_hidden_layers",
        "context_length": "max_position_embeddings",
        "embedding_length": "hidden_size",
        "feed_forward_length": "intermediate_size",
        "attention.head_count": "num_attention_heads",
        "attention.layer_norm_epsilon": "layer_norm_eps",
        "rope.dimension_count": "rotated",
        "rope.freq_base": "rotary_emb_base",
        "use_parallel_residual": "use_parallel_residual",
    },
    required=("use_parallel_residual",),
    tensors=prenorm.gguf_tensors(_LAYOUT),
    say=_say,
    arrange=lambda config: fused_rows(f"layers.*.{_LAYOUT.fused}", config.heads),
)

FAMILY = prenorm.family(_LAYOUT, read_config, gguf=_GGUF)

"""StarCoder and SantaCoder: GPT-2's order with one key and value for all heads. Li et al. 2023.

`c_attn` holds the rows of all queries, then the key's and the value's; without `multi_query` a
head's query, key and value rows, then the next head's.
"""

from collections.abc import Mapping
from typing import Any

from attn_cli.model import prenorm
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.config import ConfigReader
from attn_cli.model.gguf import Gguf
from attn_cli.model.prenorm import Config, Layout, position_rows

OWN = {
    "hidden_size": "n_embd", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head",
    "max_position_embeddings": "n_positions",
}  # fmt: skip
_HARMLESS = frozenset(
    """
    attention_softmax_in_fp32 attn_pdrop embd_pdrop initializer_range num_key_value_heads
    resid_pdrop scale_attention_softmax_in_fp32
    """.split()
)
LAYOUT = Layout(
    embedding="wte",
    positions="wpe",
    placed=position_rows,
    layers="h.",
    norms=("ln_1", "ln_2"),
    fused="attn.c_attn",
    out="attn.c_proj",
    mlp=("mlp.c_fc", "mlp.c_proj"),
    last="ln_f",
    prefixes=("transformer.",),
    left_out=("*.attn.bias", "*.attn.masked_bias"),
)


def read_config(reader: ConfigReader) -> Config:
    found = prenorm.sizes(reader, OWN)
    kv_heads = found["kv_heads"] = 1 if reader.flag("multi_query", True) else found["heads"]
    config = Config(
        **found,
        groups=kv_heads,
        inner_width=reader.integer("n_inner", 4 * found["model_width"]),
        epsilon=reader.positive("layer_norm_epsilon", 1e-5),
        activation=reader.choice("activation_function", ACTIVATIONS, "gelu_pytorch_tanh"),
        tied=reader.flag("tie_word_embeddings", True),
        scale=0.0 if reader.flag("scale_attn_weights", True) else 1.0,
    )
    reader.only("add_cross_attention", False)
    reader.finish(_HARMLESS)
    return config


# --- the same model in a GGUF file ---------------------------------------------------------------


def _say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    values["multi_query"] = values.pop("kv_heads", 1) == 1


_GGUF = Gguf(
    keys={
        "block_count": "n_layer",
        "context_length": "n_positions",
        "embedding_length": "n_embd",
        "feed_forward_length": "n_inner",
        "attention.head_count": "n_head",
        "attention.head_count_kv": "kv_heads",
        "attention.layer_norm_epsilon": "layer_norm_epsilon",
    },
    tensors=prenorm.gguf_tensors(LAYOUT),
    say=_say,
)

FAMILY = prenorm.family(LAYOUT, read_config, gguf=_GGUF)

"""StarCoder2: grouped heads that rotate whole, two norms, biases. Lozhkov et al. 2024."""

from collections.abc import Mapping
from typing import Any

from attn_cli.families import llama_gguf
from attn_cli.model import prenorm
from attn_cli.model.activations import ACTIVATIONS
from attn_cli.model.config import ConfigReader
from attn_cli.model.gguf import Gguf
from attn_cli.model.prenorm import Config, Layout

_HARMLESS = frozenset(
    "attention_dropout embedding_dropout initializer_range residual_dropout".split()
)
_LAYOUT = Layout(mlp=("mlp.c_fc", "mlp.c_proj"))


def read_config(reader: ConfigReader) -> Config:
    found = prenorm.sizes(reader)
    found["head_width"] = prenorm.head_width(reader, found)
    kv_heads = reader.integer("num_key_value_heads", 2)
    found["kv_heads"] = prenorm.grouped(reader, found, kv_heads)
    biased = reader.flag("use_bias", True)
    window = reader.integer("sliding_window", 0, low=0)
    config = Config(
        **found,
        inner_width=reader.integer("intermediate_size"),
        epsilon=reader.positive("norm_epsilon", 1e-5),
        activation=reader.choice("hidden_act", ACTIVATIONS, "gelu_pytorch_tanh"),
        tied=reader.flag("tie_word_embeddings", True),
        qkv_bias=biased,
        output_bias=biased,
        mlp_bias=biased,
        windows=(window,) * found["layers"],
        rope=prenorm.whole_rope(reader, found),
    )
    reader.finish(_HARMLESS)
    return config


def _say(reader: ConfigReader, values: dict[str, Any], tensors: Mapping[str, Any]) -> None:
    llama_gguf.say(reader, values, tensors)
    values["num_key_value_heads"] = values["num_key_value_heads"] or values["num_attention_heads"]
    values["use_bias"] = "blk.0.attn_q.bias" in tensors


_GGUF = Gguf(
    keys=prenorm.gguf_keys(llama_gguf.GGUF.keys, "norm_epsilon")
    | {"attention.sliding_window": "sliding_window"},
    tensors=prenorm.gguf_tensors(_LAYOUT),
    say=_say,
)

FAMILY = prenorm.family(_LAYOUT, read_config, gguf=_GGUF)

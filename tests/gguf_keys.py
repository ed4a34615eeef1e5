"""The keys of a GGUF file that the converter writes for a text model of any kind."""

from collections.abc import Mapping
from typing import Any

import gguf


def add_sizes(writer: gguf.GGUFWriter, config: Mapping[str, Any]) -> None:
    """What `TextModel.set_gguf_parameters` of convert_hf_to_gguf.py says of a config with RMS norms
    and heads that share keys."""
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])

"""Models in which something else stands in place of attention, and which do not open."""

import json

import numpy as np
import pytest

from attn_cli import session
from attn_cli.checkpoints.safetensors import encode
from attn_cli.errors import ContentError

MAMBA = ["mamba"] * 3 + ["attention"] + ["mamba"] * 2
CONFIGS = [
    ({"model_type": "jamba", "num_hidden_layers": 16},
     "jamba has Mamba in place of attention in layers 0-3, 5-11, 13-15, attention in 4, 12;"),
    ({"model_type": "jamba", "num_hidden_layers": 4, "attn_layer_period": 2,
      "attn_layer_offset": 1}, "in layers 0, 2, attention in 1, 3;"),
    ({"model_type": "granitemoehybrid", "layer_types": MAMBA},
     "has Mamba 2 in place of attention in layers 0-2, 4-5, attention in 3;"),
    ({"model_type": "granitemoehybrid", "layer_types": ["attention"] * 2},
     "the model type 'granitemoehybrid' is not supported"),
    ({"model_type": "nemotron_h", "hybrid_override_pattern": "M-M*-M"},
     "has Mamba 2 or a feed-forward network alone in place of attention in layers 0-2, 4-5,"),
    ({"model_type": "qwen3_next", "num_hidden_layers": 8},
     "has a gated delta net in place of attention in layers 0-2, 4-6, attention in 3, 7;"),
    ({"model_type": "qwen3_5", "text_config": {"num_hidden_layers": 4,
      "full_attention_interval": 2}}, "in layers 0, 2, attention in 1, 3;"),
    ({"model_type": "recurrent_gemma", "num_hidden_layers": 5},
     "has a gated linear recurrence in place of attention in layers 0-1, 3-4, attention in 2;"),
    ({"model_type": "recurrent_gemma", "num_hidden_layers": 3, "block_types": ["recurrent"]},
     "in place of attention in every layer;"),
    ({"model_type": "bamba", "num_hidden_layers": 3, "attn_layer_indices": [1]},
     "in layers 0, 2, attention in 1;"),
    ({"model_type": "falcon_h1"}, "has Mamba 2 beside attention in every layer;"),
    ({"model_type": "mamba", "num_hidden_layers": 2}, "Mamba in place of attention in every layer"),
    ({"model_type": "rwkv"}, r"rwkv has a recurrence \(RWKV\) in place of attention; attn"),
    # What cannot be what it says says nothing.
    ({"model_type": "jamba", "num_hidden_layers": "x", "attn_layer_period": "y",
      "layer_types": {"a": 1}}, "has Mamba in place of attention; attn does not"),
    ({"model_type": "qwen3_next", "num_hidden_layers": 2, "full_attention_interval": 0},
     "in place of attention in every layer"),
]  # fmt: skip


@pytest.mark.parametrize(("config", "message"), CONFIGS)
def test_a_folder_is_refused_with_what_its_layers_are(tmp_path, config, message):
    (tmp_path / "config.json").write_text(json.dumps(config))
    tensors = encode({"a": np.ones(2, np.float32)}, {"format": "pt"})
    (tmp_path / "model.safetensors").write_bytes(tensors)
    with pytest.raises(ContentError, match=message) as refused:
        session.load(str(tmp_path))
    assert str(tmp_path / "config.json") in refused.value.message
    assert refused.value.hint


def test_a_gguf_file_says_so_by_its_kv_heads(tmp_path, write_gguf):
    def keys(writer):
        writer.add_block_count(4)
        writer.add_head_count_kv([0, 0, 8, 0])

    path = write_gguf(tmp_path / "a.gguf", "jamba", keys, {"a": np.ones((2, 2), np.float32)})
    with pytest.raises(ContentError, match=r"Mamba in .* layers 0-1, 3, attention in 2;"):
        session.load(path)


def test_an_unknown_kind_of_layer_is_refused_by_name(tmp_path):
    config = {
        "model_type": "lfm2", "hidden_size": 8, "num_hidden_layers": 2, "intermediate_size": 4,
        "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 5,
        "layer_types": ["conv", "sliding_attention"],
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    tensors = encode({"a": np.ones(2, np.float32)}, {"format": "pt"})
    (tmp_path / "model.safetensors").write_bytes(tensors)
    with pytest.raises(ContentError, match=r"layer_types is 'sliding_attention', not one of"):
        session.load(str(tmp_path))

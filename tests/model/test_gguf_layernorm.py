"""Decoders with a layer norm before attention in GGUF files, as llama.cpp's converter writes them.

The names of tensors are the library's own; keys, order of rows and norms are the converter's.
"""

import gguf
import numpy as np
import pytest
from made_adapters import check_same_change
from made_folders import document, weights_of, write_model

from attn_cli import session, vocabulary
from attn_cli.errors import ContentError
from measure import every_array, row_error

ARCHITECTURES = {
    "phi-a": "phi2", "starcoder2-a": "starcoder2", "starcoder2-b": "starcoder2",
    "stablelm-a": "stablelm", "stablelm-b": "stablelm", "falcon-a": "falcon", "falcon-b": "falcon",
    "falcon-c": "falcon", "mpt-a": "mpt", "mpt-b": "mpt", "nemotron-a": "nemotron",
    "nemotron-b": "nemotron", "gpt_bigcode-a": "starcoder",
}  # fmt: skip
# What the converter has no place for; with these values both files say the same model.
SAYABLE = {
    "starcoder2-a": {"sliding_window": None},
    "stablelm-b": {"hidden_act": "silu"},
    "falcon-b": {"activation": "gelu"},
    "nemotron-b": {"hidden_act": "relu2"},
    "mpt-a": {"attn_config": {"clip_qkv": 0.7}, "layer_norm_epsilon": 1e-5},
}


def sizes(writer, config):
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    if "intermediate_size" in config:
        writer.add_feed_forward_length(config["intermediate_size"])
        writer.add_head_count_kv(config["num_key_value_heads"])


def turned(config):
    width = config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])
    return int(config["rope_parameters"]["partial_rotary_factor"] * width)


def add_phi2(writer, config):
    sizes(writer, config)
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_rope_dimension_count(turned(config))


def add_starcoder2(writer, config):
    sizes(writer, config)
    writer.add_layer_norm_eps(config["norm_epsilon"])
    rope = config["rope_parameters"]
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])


def add_stablelm(writer, config):
    sizes(writer, config)
    writer.add_rope_dimension_count(turned(config))
    writer.add_parallel_residual(config["use_parallel_residual"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])


def add_falcon(writer, config):
    sizes(writer, config)
    writer.add_tensor_data_layout("jploski")
    writer.add_feed_forward_length(config["ffn_hidden_size"])
    one = config["multi_query"] and not config["new_decoder_architecture"]
    writer.add_head_count_kv(1 if one else config["num_kv_heads"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])


def add_mpt(writer, config):
    writer.add_context_length(config["max_seq_len"])
    writer.add_embedding_length(config["d_model"])
    writer.add_block_count(config["n_layers"])
    writer.add_feed_forward_length(4 * config["d_model"])
    writer.add_head_count(config["n_heads"])
    writer.add_layer_norm_eps(1e-5)
    if config["attn_config"].get("clip_qkv") is not None:
        writer.add_clamp_kqv(config["attn_config"]["clip_qkv"])
    writer.add_max_alibi_bias(8)


def add_nemotron(writer, config):
    sizes(writer, config)
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_layer_norm_eps(config["norm_eps"])
    writer.add_layer_norm_rms_eps(config["norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_rope_dimension_count(turned(config))
    writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)


def add_starcoder(writer, config):
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_feed_forward_length(config["n_inner"])
    writer.add_block_count(config["n_layer"])
    writer.add_head_count(config["n_head"])
    writer.add_head_count_kv(1)
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])


ADD = {"phi2": add_phi2, "starcoder2": add_starcoder2, "stablelm": add_stablelm,
       "falcon": add_falcon, "mpt": add_mpt, "nemotron": add_nemotron,
       "starcoder": add_starcoder}  # fmt: skip


def by_groups(array, config):
    """All queries, then all keys, then all values of Falcon's groups."""
    heads = config["num_attention_heads"]
    one = config["multi_query"] and not config["new_decoder_architecture"]
    groups = 1 if one else config["num_kv_heads"]
    width = config["hidden_size"] // heads
    rows = array.reshape(groups, heads // groups + 2, width, *array.shape[1:])
    parts = rows[:, :-2], rows[:, -2:-1], rows[:, -1:]
    return np.concatenate([part.reshape(-1, *array.shape[1:]) for part in parts])


def converted(tensors, config, architecture):
    """The tensors by GGUF's names."""
    kind = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    names, found, heads = gguf.get_tensor_name_map(kind, 2), {}, {}
    for name, array in tensors.items():
        if ".norms." in name:
            whole, _, head = name.removesuffix(".weight").partition(".norms.")
            heads.setdefault(whole, {})[int(head)] = array
            continue
        grouped = architecture == "falcon" and "query_key_value" in name
        rows = by_groups(array, config) if grouped else array
        shifted = architecture == "nemotron" and name.endswith("norm.weight")
        place = names.get_name(name, try_suffixes=(".weight", ".bias"))
        found[place] = rows + 1 if shifted else rows
    for name, each in heads.items():
        stacked = np.stack([each[head] for head in sorted(each)])
        found[f"{names.get_name(name)}.weight"] = stacked
    return found


@pytest.fixture
def convert(tmp_path, write_gguf):
    """Makes the GGUF file of a golden model, changed on the way, and the folder it is made from."""

    def make(name, *, keys=lambda writer: None, tensors=dict):
        architecture = ARCHITECTURES[name]
        found = document(name)
        config = found["config"] | SAYABLE.get(name, {})
        if name == "phi-a":
            config["rope_parameters"]["rope_theta"] = 10000.0
        arrays = weights_of(found)
        if name == "falcon-b":  # llama.cpp's Falcon has no biases of maps
            config["bias"] = False
            arrays = {n: a for n, a in arrays.items() if not n.endswith(".bias") or "ln_" in n}
        folder = write_model(tmp_path / name, config, arrays)

        def add(writer):
            ADD[architecture](writer, config)
            keys(writer)

        found = tensors(converted(arrays, config, architecture))
        return write_gguf(tmp_path / f"{name}.gguf", architecture, add, found), str(folder)

    return make


def computed(path):
    return every_array(session.trace(ids=(3, 1, 4, 1, 5, 9), model=path, arrays=vocabulary.ARRAYS))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_gguf_file_computes_what_the_folder_computes(convert, name):
    path, folder = convert(name)
    found, wanted = computed(path), computed(folder)
    assert found.keys() == wanted.keys()
    for array, values in wanted.items():
        assert row_error(found[array], values) <= 2e-6, array
    ours, theirs = session.load(path).facts, session.load(folder).facts
    for fact in ("layers", "heads", "kv_heads", "head_width", "vocabulary", "context"):
        assert getattr(ours, fact) == getattr(theirs, fact)


def test_rows_of_groups_in_the_wrong_order_would_be_seen(convert):
    def swapped(tensors):
        fused = tensors["blk.0.attn_qkv.weight"]
        return tensors | {"blk.0.attn_qkv.weight": np.roll(fused, 4, axis=0)}

    path, folder = convert("falcon-b", tensors=swapped)
    assert row_error(computed(path)["0.scores"], computed(folder)["0.scores"]) > 0.01


def test_files_of_older_converters_have_queries_keys_and_values_side_by_side(convert):
    def fused(tensors):
        for part in ("weight", "bias"):
            for layer in range(2):
                rows = [tensors.pop(f"blk.{layer}.attn_{letter}.{part}") for letter in "qkv"]
                tensors[f"blk.{layer}.attn_qkv.{part}"] = np.concatenate(rows)
        return tensors

    path, folder = convert("phi-a", tensors=fused)
    found, wanted = computed(path), computed(folder)
    assert all(row_error(found[array], wanted[array]) <= 2e-6 for array in wanted)


@pytest.mark.parametrize(("name", "keys", "match"), [
    ("mpt-a", lambda w: w.kv_data[0].pop("mpt.attention.max_alibi_bias"), "max_alibi_bias is miss"),
    ("mpt-a", lambda w: w.add_max_alibi_bias(4.0), "max_alibi_bias is 4"),
    ("mpt-a", lambda w: w.add_feed_forward_length(97), "feed_forward_length is not 96"),
    ("falcon-a", lambda w: w.add_tensor_data_layout("reference"), "tensor_data_layout"),
    ("phi-a", lambda w: w.add_rope_dimension_count(9), "dimension_count is 9"),
    ("stablelm-a", lambda w: w.add_rope_scaling_attn_factors(1.5), "attn_factor"),
    ("nemotron-a", lambda w: w.kv_data[0].pop("nemotron.attention.layer_norm_epsilon"), "epsilon"),
])  # fmt: skip
def test_a_key_that_cannot_be_honoured_is_refused(convert, name, keys, match):
    with pytest.raises(ContentError, match=match):
        session.load(convert(name, keys=keys)[0])


@pytest.mark.parametrize("name", ["falcon-b", "falcon-c", "nemotron-a"])
def test_an_adapter_does_to_a_file_what_it_does_to_the_folder(convert, tmp_path, name):
    """Also where rows stand otherwise, and where norms are stored otherwise."""
    check_same_change(tmp_path / "adapter", *convert(name))

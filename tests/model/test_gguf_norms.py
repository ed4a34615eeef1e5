"""GGUF files of types whose norms and positions stand elsewhere, as llama.cpp writes them.

The names of tensors are the library's own; keys, order of rows and lists by layer the converter's.
"""

from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from made_folders import document, made_folder, weights_of

from attn_cli import session, vocabulary
from attn_cli.checkpoints.gguf import Gguf
from attn_cli.errors import ContentError
from attn_cli.families import cohere2, exaone4, olmo2
from attn_cli.model.gguf import open_gguf
from measure import every_array, in_float64, row_error

ARCHITECTURES = {
    "olmo-a": "olmo", "olmo2-a": "olmo2", "olmo2-b": "olmo2", "olmo3-a": "olmo2",
    "smollm3-a": "smollm3", "cohere-a": "command-r", "cohere2-a": "cohere2",
    "exaone4-a": "exaone4", "exaone4-b": "exaone4", "glm-a": "chatglm", "glm4-a": "glm4",
    "hunyuan_v1_dense-a": "hunyuan-dense",
}  # fmt: skip
FAMILIES = {"olmo2": olmo2, "cohere2": cohere2, "exaone4": exaone4}
PERMUTED = ("olmo", "smollm3")
LAYER_NORMS = ("olmo", "command-r", "cohere2")
LOGIT_SCALES = ("command-r", "cohere2")


# --- the converter -------------------------------------------------------------------------------


def add_base(writer, config, architecture):
    """What every text model's file says."""
    rope = config["rope_parameters"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    if "head_dim" in config:
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])
    if architecture in LAYER_NORMS:
        writer.add_layer_norm_eps(config.get("layer_norm_eps", 1e-5))
    else:
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if architecture in LOGIT_SCALES:
        writer.add_logit_scale(config["logit_scale"])
        writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)
    full = rope.get("full_attention", rope)
    writer.add_rope_freq_base(scaled_base(full, config))
    if "sliding_attention" in rope:
        writer.add_rope_freq_base_swa(rope["sliding_attention"]["rope_theta"])
    if full["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(full["factor"])
        writer.add_rope_scaling_orig_ctx_len(full["original_max_position_embeddings"])
        writer.add_rope_scaling_yarn_beta_fast(full["beta_fast"])
        writer.add_rope_scaling_yarn_beta_slow(full["beta_slow"])


def scaled_base(rope, config):
    """Hunyuan's fixed scaling is in its base; all other bases are as they are."""
    width = config.get("head_dim", 0)
    return rope["rope_theta"] * rope.get("alpha", 1.0) ** (width / max(1, width - 2))


def add_own(writer, config, architecture):
    """What only some files say."""
    rope = config["rope_parameters"]
    if config.get("clip_qkv"):
        writer.add_clamp_kqv(config["clip_qkv"])
    if config.get("sliding_window"):
        writer.add_sliding_window(config["sliding_window"])
    if config.get("sliding_window") and architecture != "cohere2":
        slides = [kind == "sliding_attention" for kind in config["layer_types"]]
        writer.add_sliding_window_pattern(slides)
    if architecture in ("chatglm", "glm4"):
        writer.add_rope_dimension_count(int(rope["partial_rotary_factor"] * config["head_dim"]))
    if rope.get("alpha"):
        writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)
        writer.add_rope_scaling_factor(1)
        writer.add_rope_scaling_orig_ctx_len(256 * 1024)


def converted(found, architecture):
    """The tensors by GGUF's names."""
    config = found["config"]
    kind = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    names = gguf.get_tensor_name_map(kind, config["num_hidden_layers"])
    tensors = {}
    for name, stored in weights_of(found).items():
        array = stored
        heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
        module = name.split(".")[-2]
        if architecture in PERMUTED and module in heads:
            rows = stored.reshape(config[heads[module]], 2, -1, *stored.shape[1:])
            array = np.ascontiguousarray(rows.swapaxes(1, 2)).reshape(stored.shape)
        tensors[names.get_name(name, try_suffixes=(".weight", ".bias"))] = array
    rope = config["rope_parameters"]
    if rope.get("rope_type") == "llama3":
        tensors["rope_freqs.weight"] = llama3_factors(rope, config["head_dim"])
    return tensors


def llama3_factors(rope, width):
    """By what each frequency is slowed: written here from Llama 3.1's own definition."""
    waves = 2 * np.pi * rope["rope_theta"] ** (np.arange(0, width, 2) / width)
    original, factor = rope["original_max_position_embeddings"], rope["factor"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    smooth = ((original / waves - low) / (high - low)).clip(0, 1)
    return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)


@pytest.fixture
def convert(tmp_path, write_gguf):
    """Makes the GGUF file of a golden model, changed on the way, and its folder."""

    def make(name, *, keys=lambda writer: None, tensors=dict):
        found, architecture, folder = document(name), ARCHITECTURES[name], tmp_path / name
        made_folder(folder, name, found["config"])

        def add(writer):
            add_base(writer, found["config"], architecture)
            add_own(writer, found["config"], architecture)
            keys(writer)

        stored = tensors(converted(found, architecture))
        return write_gguf(tmp_path / f"{name}.gguf", architecture, add, stored), folder

    return make


def computed(path):
    found = session.trace(
        ids=(3, 1, 4, 1, 5, 9, 2, 6), model=in_float64(path), arrays=vocabulary.ARRAYS
    )
    return every_array(found)


# --- the numbers ---------------------------------------------------------------------------------


def assert_same(found, wanted, *, but=()):
    assert found.keys() - {*but} == wanted.keys() - {*but}
    for array in wanted.keys() - {*but}:
        assert row_error(found[array], wanted[array]) <= 2e-6, array


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_gguf_file_computes_what_the_folder_computes(convert, name):
    path, folder = convert(name)
    assert_same(computed(path), computed(folder))
    ours, theirs = session.load(path).facts, session.load(str(folder)).facts
    rounded = {fact: getattr(ours, fact) for fact in ("epsilon", "logit_scale", "clipped")}
    assert rounded == pytest.approx({fact: getattr(theirs, fact) for fact in rounded}, rel=1e-6)
    named = {fact: getattr(ours, fact) for fact in ("name", "source", "family")}
    assert replace(theirs, **named, **rounded) == ours


def test_chatglms_own_files_have_queries_keys_and_values_in_one_matrix(convert):
    def fused(tensors):
        found = dict(tensors)
        for layer in range(2):
            for part in ("weight", "bias"):
                rows = [found.pop(f"blk.{layer}.attn_{letter}.{part}") for letter in "qkv"]
                found[f"blk.{layer}.attn_qkv.{part}"] = np.concatenate(rows)
        return found

    path, folder = convert("glm-a", tensors=fused)
    assert_same(computed(path), computed(folder))


def test_factors_slow_the_layers_with_a_window_too(convert):
    factors = np.array([1.0, 2.0, 4.0, 8.0], np.float32)
    path, folder = convert(
        "exaone4-a", tensors=lambda found: found | {"rope_freqs.weight": factors}
    )
    slowed, plain = session.load(path).config, session.load(str(folder)).config
    assert slowed.windows == plain.windows != (0, 0, 0, 0)
    wanted = np.array(plain.local_rope.frequencies) / factors
    assert slowed.local_rope.frequencies == pytest.approx(wanted, rel=1e-6)


def test_a_clamp_of_0_is_none(convert):
    def keys(writer):
        writer.kv_data[0]["olmo.attention.clamp_kqv"].value = 0.0

    assert session.load(convert("olmo-a", keys=keys)[0]).facts.clipped == 0


@pytest.mark.parametrize("name", ["olmo-a", "smollm3-a"])
def test_rows_in_the_wrong_order_would_be_seen(convert, name):
    def swapped(tensors):
        q = tensors["blk.0.attn_q.weight"]
        return tensors | {"blk.0.attn_q.weight": np.roll(q, 1, axis=0)}

    path, folder = convert(name, tensors=swapped)
    assert row_error(computed(path)["0.scores"], computed(folder)["0.scores"]) > 0.01


# --- what the files leave out --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["olmo3-a", "cohere2-a", "exaone4-a"])
@pytest.mark.parametrize(
    ("pattern", "full"), [(None, [3, 7]), (3, [2, 5]), ([1, 0] * 4, [1, 3, 5, 7])]
)
def test_windows_are_told_by_a_period_or_layer_by_layer(convert, name, pattern, full):
    """llama.cpp's rule: every fourth layer sees everything where the file does not say."""
    path, _ = convert(name)
    found, architecture = Gguf(Path(path)), ARCHITECTURES[name]
    key = f"{architecture}.attention.sliding_window_pattern"
    found.metadata = dict(found.metadata) | {f"{architecture}.block_count": 8}
    found.metadata.pop(key, 0)
    if pattern:
        told = [bool(one) for one in pattern] if isinstance(pattern, list) else pattern
        found.metadata[key] = told
    family = FAMILIES[architecture].FAMILY
    config = open_gguf(family.gguf, found, architecture, family.read_config)[0]
    assert [layer for layer, width in enumerate(config.windows) if not width] == full
    assert list(config.unrotated) == ([] if name == "olmo3-a" else full)


def test_a_file_without_a_base_of_its_own_for_windows_has_one_for_all_layers(convert):
    path, _ = convert("olmo3-a", keys=without("olmo2.rope.freq_base_swa"))
    second = session.load(path).config.local_rope.frequencies[1]
    assert second == pytest.approx(53.0 ** -(2 / 8))


def without(key):
    return lambda writer: writer.kv_data[0].pop(key)


@pytest.mark.parametrize(("name", "keys", "match"), [
    ("olmo-a", without("olmo.attention.layer_norm_epsilon"), "epsilon is missing"),
    ("cohere-a", without("command-r.logit_scale"), "logit_scale is missing"),
    ("cohere2-a", without("cohere2.attention.sliding_window"), "sliding_window is missing"),
    ("exaone4-a", lambda w: w.add_uint32("exaone4.pattern", 1), "exaone4.pattern is unknown"),
    ("glm-a", lambda w: w.kv_data[0].update(w.kv_data[0] | {
        "chatglm.rope.dimension_count": w.kv_data[0]["chatglm.feed_forward_length"]
    }), "dimension_count is 13"),
])  # fmt: skip
def test_a_key_that_cannot_be_honoured_is_refused(convert, name, keys, match):
    with pytest.raises(ContentError, match=match):
        session.load(convert(name, keys=keys)[0])


def test_a_list_of_windows_that_does_not_fit_is_refused(convert):
    key = "exaone4.attention.sliding_window_pattern"
    path, _ = convert("exaone4-a", keys=lambda writer: writer.kv_data[0].pop(key))
    found, family = Gguf(Path(path)), exaone4.FAMILY
    found.metadata = dict(found.metadata) | {key: [True, False]}
    with pytest.raises(ContentError, match=f"{key} is not a list of 4"):
        open_gguf(family.gguf, found, "exaone4", family.read_config)

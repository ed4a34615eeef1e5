"""The other decoder families in GGUF files, as llama.cpp's converter writes them.

The names of tensors are the library's own; keys, order of rows and gains are the converter's.
"""

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf_keys import add_sizes
from made_adapters import check_same_change

from attn_cli import session, vocabulary
from attn_cli.checkpoints.gguf import Gguf
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.errors import ContentError
from attn_cli.families import gemma2, gemma3
from attn_cli.model.gguf import open_gguf
from measure import every_array, in_float64, row_error

WEIGHTS = "model.safetensors"
ARCHITECTURES = {
    "gemma2": "gemma2", "gemma3": "gemma3", "phi3-short": "phi3", "phi3-long": "phi3",
    "neox-parallel": "gptneox", "neox-serial": "gptneox", "bloom": "bloom",
}  # fmt: skip
IDS = (3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8)


def sayable(name, config):
    """The config without what GGUF has no key for, so that both files say the same model."""
    if name.startswith("gemma"):
        config["query_pre_attn_scalar"] = config["head_dim"]
    if name == "gemma3":  # every second layer sees everything
        del config["layer_types"]
        config["sliding_window_pattern"] = 2
    if name == "neox-serial":
        config["hidden_act"] = "gelu"
    return config


# --- the converter -------------------------------------------------------------------------------


def add_gemma(writer, config):
    add_sizes(writer, config)
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_sliding_window(config["sliding_window"])
    writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    rope = config["rope_parameters"]
    if "full_attention" not in rope:
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_rope_freq_base(rope["rope_theta"])
        return
    writer.add_rope_freq_base(rope["full_attention"]["rope_theta"])
    writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(rope["full_attention"]["factor"])
    writer.add_float32("gemma3.rope.freq_base_swa", rope["sliding_attention"]["rope_theta"])
    writer.add_uint32("gemma3.attention.sliding_window_pattern", config["sliding_window_pattern"])


def add_phi3(writer, config):
    rope = config["rope_parameters"]
    width = config["hidden_size"] // config["num_attention_heads"]
    original = config["original_max_position_embeddings"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_rope_scaling_orig_ctx_len(original)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(int(rope["partial_rotary_factor"] * width))
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_sliding_window(config["sliding_window"])
    growth = config["max_position_embeddings"] / original
    stretch = (1 + np.log(growth) / np.log(original)) ** 0.5
    writer.add_rope_scaling_attn_factors(float(stretch))


def add_neox(writer, config):
    rope = config["rope_parameters"]
    width = config["hidden_size"] // config["num_attention_heads"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_rope_dimension_count(int(rope["partial_rotary_factor"] * width))
    writer.add_head_count(config["num_attention_heads"])
    writer.add_parallel_residual(config.get("use_parallel_residual", True))
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_rope_freq_base(rope["rope_theta"])


def add_bloom(writer, config):
    writer.add_context_length(2048)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(4 * config["hidden_size"])
    writer.add_block_count(config["n_layer"])
    writer.add_head_count(config["n_head"])
    writer.add_head_count_kv(config["n_head"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])


ADD = {"gemma2": add_gemma, "gemma3": add_gemma, "phi3": add_phi3, "gptneox": add_neox,
       "bloom": add_bloom}  # fmt: skip


def converted(folder, config, architecture):
    """The tensors by GGUF's names."""
    layers = config.get("num_hidden_layers", config.get("n_layer"))
    kind = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    names = gguf.get_tensor_name_map(kind, layers)
    stored, found = open_safetensors(folder / WEIGHTS), {}
    for name in stored:
        array = np.array(stored[name].read())
        if architecture.startswith("gemma") and name.endswith("norm.weight"):
            array = array + 1
        if "query_key_value" in name:
            heads = config.get("n_head", config.get("num_attention_heads"))
            rows = array.reshape(heads, 3, -1, *array.shape[1:])
            array = np.concatenate([rows[:, i].reshape(-1, *array.shape[1:]) for i in range(3)])
        # The converter takes this prefix away, which the library's names lack.
        plain = name.removeprefix("transformer.")
        found[names.get_name(plain, try_suffixes=(".weight", ".bias"))] = array
    if architecture == "phi3":
        for length in ("short", "long"):
            factors = config["rope_parameters"][f"{length}_factor"]
            found[f"rope_factors_{length}.weight"] = np.array(factors, np.float32)
    return found


def nothing(writer):
    """No further keys."""


@pytest.fixture
def convert(golden_copy, tmp_path, write_gguf):
    """Makes the GGUF file of a golden model, changed on the way, and the folder it came from."""

    def make(name, *, keys=nothing, tensors=dict):
        architecture, folder = ARCHITECTURES[name], golden_copy(name)
        config = sayable(name, json.loads((folder / "config.json").read_text()))
        if name == "neox-serial":  # its scaling has no place in the converter
            rope = config["rope_parameters"]
            rope |= {"rope_type": "default"}
            del rope["factor"]
        (folder / "config.json").write_text(json.dumps(config))

        def add(writer):
            ADD[architecture](writer, config)
            keys(writer)

        found = tensors(converted(folder, config, architecture))
        return write_gguf(tmp_path / f"{name}.gguf", architecture, add, found), folder

    return make


def computed(path):
    found = session.trace(ids=IDS, model=in_float64(path), arrays=vocabulary.ARRAYS)
    return every_array(found)


# --- the numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_gguf_file_computes_what_the_folder_computes(convert, name):
    path, folder = convert(name)
    found, wanted = computed(path), computed(folder)
    assert found.keys() == wanted.keys()
    for array, values in wanted.items():
        assert row_error(found[array], values) <= 2e-6, array
    ours, theirs = session.load(path).facts, session.load(str(folder)).facts
    for fact in (
        "layers",
        "heads",
        "kv_heads",
        "head_width",
        "vocabulary",
        "context",
        "parameters",
    ):
        assert getattr(ours, fact) == getattr(theirs, fact)


@pytest.mark.parametrize("name", ["neox-parallel", "bloom"])
def test_rows_in_the_wrong_order_would_be_seen(convert, name):
    def swapped(tensors):
        fused = tensors["blk.0.attn_qkv.weight"]
        return tensors | {"blk.0.attn_qkv.weight": np.roll(fused, len(fused) // 3, axis=0)}

    path, folder = convert(name, tensors=swapped)
    assert row_error(computed(path)["0.scores"], computed(folder)["0.scores"]) > 0.01


def test_gains_that_lack_their_one_would_be_seen(convert):
    path, folder = convert("gemma2", tensors=lambda found: {
        name: array - ("attn_norm" in name) for name, array in found.items()
    })  # fmt: skip
    assert row_error(computed(path)["0.normed"], computed(folder)["0.normed"]) > 0.01


# --- what the files leave out --------------------------------------------------------------------


@pytest.mark.parametrize(("name", "layers", "scale"), [
    ("gemma2", 26, 6**-0.5), ("gemma2", 42, 6**-0.5), ("gemma2", 46, (20 / 4) ** -0.5),
    ("gemma3", 26, 6**-0.5), ("gemma3", 46, 6**-0.5), ("gemma3", 62, (20 / 4) ** -0.5),
])  # fmt: skip
def test_scale_and_windows_follow_from_the_number_of_layers(convert, name, layers, scale):
    """llama.cpp's rule: the largest model of each is known by its layers."""
    path, _ = convert(name)
    given = dict(Gguf(Path(path)).metadata)
    given[f"{name}.block_count"] = layers
    given.pop(f"{name}.attention.sliding_window_pattern", 0)
    config = config_of(given, path, name)
    assert config.scale == pytest.approx(scale)
    full = [layer for layer, width in enumerate(config.windows) if not width]
    period = {"gemma2": 2, "gemma3": 6}[name]
    assert full == list(range(period - 1, layers, period))


def config_of(metadata, path, name):
    found = Gguf(Path(path))
    found.metadata = metadata
    family = {"gemma2": gemma2, "gemma3": gemma3}[name].FAMILY
    return open_gguf(family.gguf, found, name, family.read_config)[0]


def test_a_gemma3_file_without_a_window_sees_everything_everywhere(convert):
    path, _ = convert("gemma3")
    given = dict(Gguf(Path(path)).metadata)
    del given["gemma3.attention.sliding_window"]
    assert config_of(given, path, "gemma3").windows == (0, 0, 0)


def test_ollamas_own_gemma3_files_open(convert):
    """Two bases under other names, and pictures that are left out."""

    def keys(writer):
        writer.kv_data[0].pop("gemma3.rope.freq_base_swa")
        writer.kv_data[0].pop("gemma3.rope.freq_base")
        writer.add_float32("gemma3.rope.local.freq_base", 11.0)
        writer.add_float32("gemma3.rope.global.freq_base", 97.0)
        writer.add_uint32("gemma3.vision.block_count", 27)
        writer.add_uint32("gemma3.mm.tokens_per_image", 256)

    def tensors(found):
        return found | {
            "v.blk.0.attn_k.weight": np.ones((3, 5), np.float32),
            "mm.mm_input_projection.weight": np.ones((3, 5), np.float32),
        }

    path, folder = convert("gemma3", keys=keys, tensors=tensors)
    found, wanted = computed(path), computed(folder)
    assert all(row_error(found[array], wanted[array]) <= 2e-6 for array in wanted)


@pytest.mark.parametrize(("name", "keys", "match"), [
    ("gemma2", lambda w: w.add_float32("gemma2.attn_logit_softcapping_x", 1.0), "softcapping_x"),
    ("gemma3", lambda w: w.add_float32("gemma3.attn_logit_softcapping", 1.0), "softcapping is 1"),
    ("phi3-short", lambda w: w.add_float32("phi3.expert_count", 2.0), "expert_count"),
    ("bloom", lambda w: w.add_float32("bloom.attention.max_alibi_bias", 4.0), "max_alibi_bias"),
    ("neox-parallel", lambda w: w.add_float32("gptneox.rope.scaling.factor", 2.0), "scaling"),
])  # fmt: skip
def test_a_key_that_cannot_be_honoured_is_refused(convert, name, keys, match):
    with pytest.raises(ContentError, match=match):
        session.load(convert(name, keys=keys)[0])


@pytest.mark.parametrize(("key", "value"), [
    ("bloom.feed_forward_length", 81), ("bloom.attention.head_count_kv", 1),
])  # fmt: skip
def test_a_bloom_of_other_shape_is_refused(convert, key, value):
    def keys(writer):
        writer.kv_data[0][key].value = value

    with pytest.raises(ContentError, match="as in every model of this family"):
        session.load(convert("bloom", keys=keys)[0])


def test_a_family_that_no_converter_writes_is_refused(tmp_path, write_gguf):
    path = write_gguf(tmp_path / "other.gguf", "opt", nothing, {"a": np.ones((2, 2), np.float32)})
    with pytest.raises(ContentError, match="opt is not what the converters write"):
        session.load(path)


EPSILON = {"gemma2": "rms_", "gemma3": "rms_", "phi3-short": "rms_", "neox-parallel": "",
           "bloom": ""}  # fmt: skip
NEEDS = [
    (name, f"{ARCHITECTURES[name]}.{key}")
    for name, kind in EPSILON.items()
    for key in ("context_length", "feed_forward_length", f"attention.layer_norm_{kind}epsilon")
]


@pytest.mark.parametrize(
    ("name", "key"), [*NEEDS, ("neox-serial", "gptneox.use_parallel_residual")]
)
def test_a_key_that_llama_cpp_asks_for_is_missed_by_its_own_name(convert, name, key):
    path, _ = convert(name, keys=lambda writer: writer.kv_data[0].pop(key))
    with pytest.raises(ContentError, match=f"the key {key} is missing$"):
        session.load(path)


@pytest.mark.parametrize(("slope", "opens"), [(8.0, True), (0.0, False)])
def test_a_bloom_may_say_the_slope_that_all_have(convert, slope, opens):
    path, _ = convert(
        "bloom", keys=lambda w: w.add_float32("bloom.attention.max_alibi_bias", slope)
    )
    if opens:
        assert session.load(path).facts.family == "bloom"
    else:
        with pytest.raises(ContentError, match="max_alibi_bias is 0"):
            session.load(path)


@pytest.mark.parametrize("name", ["neox-serial", "gemma3", "phi3-short"])
def test_an_adapter_does_to_a_file_what_it_does_to_the_folder(convert, tmp_path, name):
    """Also where rows stand otherwise, and where norms are stored otherwise."""
    check_same_change(tmp_path / "adapter", *convert(name))

"""Types in Llama's order in GGUF files, as llama.cpp's converter writes them.

The names of tensors are the library's own; keys, order of rows and gains are the converter's.
"""

import math
from dataclasses import replace

import gguf
import numpy as np
import pytest
from gguf_keys import add_sizes
from made_adapters import check_same_change
from made_folders import document, weights_of, write_model

from attn_cli import session, vocabulary
from attn_cli.errors import ContentError
from measure import every_array, in_float64, row_error

# Each golden model, the architecture that the converter makes of it, and what GGUF has no key for.
MODELS = {
    "gemma-a": ("gemma", {"rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0}}),
    "granite-a": ("granite", {}),
    "granite-b": ("granite", {}),
    "arcee-a": ("arcee", {}),
    "arcee-b": ("arcee", {"hidden_act": "relu2"}),
    "ernie4_5-a": ("ernie4_5", {}),
    "ernie4_5-b": ("ernie4_5", {}),
    "seed_oss-a": ("seed_oss", {}),
    "seed_oss-b": ("seed_oss", {"hidden_act": "silu"}),
    "exaone-a": ("exaone", {}),
    "exaone-b": ("exaone", {}),
    "internlm3-a": ("llama", {}),
    "iquestcoder-b": ("llama", {"hidden_act": "silu"}),
    "ministral3-a": ("mistral3", {}),
}
PAIRED = ("granite", "arcee", "llama", "mistral3")
SCALES = {
    "attention_multiplier": "attention.scale", "embedding_multiplier": "embedding_scale",
    "residual_multiplier": "residual_scale", "logits_scaling": "logit_scale",
}  # fmt: skip


# --- the converter -------------------------------------------------------------------------------


def add(writer, architecture, config):
    width = config["hidden_size"] // config["num_attention_heads"]
    head, rope = config.get("head_dim", width), config["rope_parameters"]
    add_sizes(writer, config)
    writer.add_key_length(head)
    writer.add_value_length(head)
    if architecture == "gemma":
        return
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_count(head)
    if rope["rope_type"] in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(rope["rope_type"]))
        writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        writer.add_rope_scaling_yarn_beta_fast(rope["beta_fast"])
        writer.add_rope_scaling_yarn_beta_slow(rope["beta_slow"])
        writer.add_rope_scaling_yarn_log_mul(rope["mscale_all_dim"])
        writer.add_float32("mistral3.attention.temperature_scale", rope["llama_4_scaling_beta"])
    if architecture == "granite":
        for key, own in SCALES.items():
            writer.add_float32(f"granite.{own}", config[key])


def paired(array, heads):
    rows = array.reshape(heads, 2, len(array) // heads // 2, *array.shape[1:])
    return rows.swapaxes(1, 2).reshape(array.shape)


def slowing(rope, width):
    """Llama 3's scaling as a factor for each frequency."""
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    for pair in range(width // 2):
        wavelength = 2 * math.pi * rope["rope_theta"] ** (2 * pair / width)
        turns = rope["original_max_position_embeddings"] / wavelength
        share = min(max((turns - low) / (high - low), 0), 1)
        yield 1 / ((1 - share) / rope["factor"] + share)


def converted(architecture, config, tensors):
    """The tensors by GGUF's names."""
    kind = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    names = gguf.get_tensor_name_map(kind, config["num_hidden_layers"])
    heads = {"q": config["num_attention_heads"], "k": config["num_key_value_heads"]}
    found, rope = {}, config["rope_parameters"]
    for name, array in tensors.items():
        letter = next((letter for letter in heads if f"{letter}_proj." in name), "")
        gain = architecture == "gemma" and name.endswith("norm.weight")
        rows = paired(array, heads[letter]) if letter and architecture in PAIRED else array + gain
        found[names.get_name(name, try_suffixes=(".weight", ".bias"))] = rows
    if rope["rope_type"] == "llama3":
        width = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        found["rope_freqs.weight"] = np.array([*slowing(rope, width)], np.float32)
    return found


def nothing(writer):
    """No further keys."""


@pytest.fixture
def convert(tmp_path, write_gguf):
    """Makes the GGUF file of a golden model, and the folder that it is made from."""

    def make(name, keys=nothing, tensors=dict):
        architecture, unsayable = MODELS[name]
        golden = document(name)
        config, folder = golden["config"] | unsayable, tmp_path / name
        if config["rope_parameters"]["rope_type"] == "dynamic":  # the same up to the context
            config["rope_parameters"]["rope_type"] = "default"
        weights = weights_of(golden)
        write_model(folder, config, weights)

        def all_keys(writer):
            add(writer, architecture, config)
            keys(writer)

        found = tensors(converted(architecture, config, weights))
        return write_gguf(tmp_path / f"{name}.gguf", architecture, all_keys, found), folder

    return make


def computed(path):
    found = session.trace(
        ids=(3, 1, 4, 1, 5, 9, 2, 6), model=in_float64(path), arrays=vocabulary.ARRAYS
    )
    return every_array(found)


# --- the numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_a_gguf_file_computes_what_the_folder_computes(convert, name):
    path, folder = convert(name)
    found, wanted = computed(path), computed(folder)
    assert found.keys() == wanted.keys()
    for array, values in wanted.items():
        assert row_error(found[array], values) <= 2e-6, array
    ours, theirs = session.load(path).facts, session.load(str(folder)).facts
    plain = {"name": "", "family": "", "source": "", "norm_base": 0.0}
    assert ours.attention_factors == pytest.approx(theirs.attention_factors)
    same = {
        "attention_factors": (),
        "epsilon": 0.0,
        "logit_scale": 0.0,
        "residual_factor": 0.0,
        "embedding_factor": 0.0,
    }
    assert replace(ours, **plain, **same) == replace(theirs, **plain, **same)


@pytest.mark.parametrize("name", ["granite-a", "arcee-a", "ministral3-a"])
def test_rows_in_the_wrong_order_would_be_seen(convert, name):
    def unpaired(tensors):
        rows = tensors["blk.0.attn_q.weight"]
        return tensors | {"blk.0.attn_q.weight": np.roll(rows, 1, axis=0)}

    path, folder = convert(name, tensors=unpaired)
    assert row_error(computed(path)["0.scores"], computed(folder)["0.scores"]) > 0.01


# --- what the files say otherwise ----------------------------------------------------------------


def test_granites_multipliers_that_are_missing_or_zero_are_as_llama_cpp_has_them(convert):
    def without(writer):
        for own in ("attention.scale", "embedding_scale"):
            writer.kv_data[0].pop(f"granite.{own}")
        writer.kv_data[0]["granite.residual_scale"].value = 0.0

    config = session.load(convert("granite-a", keys=without)[0]).config
    assert (config.embedding, config.residual, config.divisor) == (1.0, 1.0, pytest.approx(1.7))
    assert config.scale == pytest.approx(config.head_width**-0.5)


def test_a_mistral3_file_without_a_temperature_has_queries_that_do_not_grow(convert):
    def without(writer):
        writer.kv_data[0].pop("mistral3.attention.temperature_scale")
        writer.kv_data[0].pop("mistral3.rope.scaling.yarn_log_multiplier")

    rope = session.load(convert("ministral3-a", keys=without)[0]).config.rope
    assert rope.growth is None
    assert rope.attention_factor == pytest.approx(0.1 * math.log(3.5) + 1)


def test_what_ollamas_converter_says_besides_changes_nothing(convert):
    """As convert_llama.go and convert_mistral.go of Ollama write it, of models without scaling."""

    def with_head_dim(writer):
        writer.add_uint32("llama.attention.head_dim", document("internlm3-a")["config"]["head_dim"])

    plain = session.load(convert("internlm3-a")[0]).config
    assert session.load(convert("internlm3-a", keys=with_head_dim)[0]).config == plain
    wrong = convert("internlm3-a", keys=lambda w: w.add_uint32("llama.attention.head_dim", 64))[0]
    with pytest.raises(ContentError, match=r"llama\.attention\.head_dim differs"):
        session.load(wrong)

    def unscaled(writer):
        for own in ("type", "factor", "yarn_beta_fast", "yarn_beta_slow", "original_context_length",
                    "yarn_log_multiplier"):  # fmt: skip
            writer.kv_data[0].pop(f"mistral3.rope.scaling.{own}", None)

    def ollamas(writer):
        unscaled(writer)
        writer.add_key_value("mistral3.rope.scaling.type", "", gguf.GGUFValueType.STRING)
        for own in ("factor", "yarn_beta_fast", "yarn_beta_slow"):
            writer.add_float32(f"mistral3.rope.scaling.{own}", 0.0)
        writer.add_uint32("mistral3.image_token_index", 10)
        writer.add_uint32("mistral3.spatial_merge_size", 2)
        writer.add_uint32("mistral3.vision.block_count", 24)
        writer.add_bool("mistral3.mm.projector_bias", False)

    plain, theirs = (convert("ministral3-a", keys=keys)[0] for keys in (unscaled, ollamas))
    assert session.load(theirs).config == session.load(plain).config


@pytest.mark.parametrize(("name", "keys", "match"), [
    ("granite-a", lambda w: w.kv_data[0].pop("granite.logit_scale"), "logit_scale is missing"),
    ("granite-a", lambda w: w.add_bool("granite.rope.scaling.finetuned", False), "finetuned is"),
    ("granite-b", lambda w: w.add_uint32("granite.expert_count", 4), "expert_count is 4"),
    ("arcee-a", lambda w: w.add_float32("arcee.embedding_scale", 3.0), "embedding_scale is 3"),
    ("ernie4_5-a", lambda w: w.add_float32("ernie4_5.attention.scale", 3.0), "scale is 3"),
    ("seed_oss-a", lambda w: w.add_uint32("seed_oss.rope.dimension_sections", 3), "sections"),
    ("gemma-a", lambda w: w.add_float32("gemma.final_logit_softcapping", 30.0), "softcapping"),
    ("ministral3-a", lambda w: w.add_float32("mistral3.attention.temperature_length", 1.0),
     "temperature_length"),
])  # fmt: skip
def test_a_key_that_cannot_be_honoured_is_refused_by_its_own_name(convert, name, keys, match):
    def changed(writer):
        writer.kv_data[0].pop(f"{MODELS[name][0]}.rope.dimension_count", 0)
        keys(writer)

    with pytest.raises(ContentError, match=match):
        session.load(convert(name, keys=changed)[0])


@pytest.mark.parametrize("architecture", ["helium", "cwm", "ministral", "ministral3x"])
def test_what_no_converter_writes_does_not_open(tmp_path, write_gguf, architecture):
    path = write_gguf(
        tmp_path / "other.gguf", architecture, nothing, {"a": np.ones((2, 2), np.float32)}
    )
    with pytest.raises(ContentError, match=rf"{architecture}.*(not supported|not what)"):
        session.load(path)


@pytest.mark.parametrize("name", ["granite-a", "gemma-a"])
def test_an_adapter_does_to_a_file_what_it_does_to_the_folder(convert, tmp_path, name):
    """Also where rows stand otherwise, and where norms are stored otherwise."""
    check_same_change(tmp_path / "adapter", *convert(name))

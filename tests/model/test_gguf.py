"""GGUF files, written as llama.cpp's converter writes them, against the same models in folders.

The names of tensors are the library's own; keys, permutation and transposition are the converter's.
"""

import json
import re
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from stores import OllamaStore

from attn_cli import session, vocabulary
from attn_cli.checkpoints.gguf import Gguf
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.checkpoints.tensor import Tensor
from attn_cli.errors import ContentError, NoModelError
from attn_cli.model.stack import Request
from attn_cli.records import Address
from measure import row_error

# The architecture that the converter gives each golden model: Mistral's is Llama's.
ARCHITECTURES = {
    "llama-plain": "llama", "llama-bias": "llama", "llama-linear": "llama",
    "llama-llama3": "llama", "llama-yarn": "llama", "mistral-window": "llama",
    "qwen2-window": "qwen2", "qwen3-yarn": "qwen3", "gpt2-a": "gpt2",
}  # fmt: skip
# A file of Llama 3 holds float32 factors of turns where the config has the numbers behind them.
TOLERANCE = dict.fromkeys(ARCHITECTURES, 1e-6) | {"llama-llama3": 5e-6}
TURNED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
WEIGHTS = "model.safetensors"
IDS = (3, 1, 4, 1, 5, 9, 2)


def read_json(path):
    return json.loads(path.read_text())


# --- the converter -------------------------------------------------------------------------------


def sayable(config):
    """The config without what GGUF has no key for, so that both files say the same model."""
    config = dict(config)
    if "hidden_act" in config:
        config["hidden_act"] = "silu"
    if config.get("use_sliding_window"):
        config |= dict.fromkeys(("use_sliding_window", "sliding_window", "layer_types"))
    if "rope_parameters" in config:
        left_out = ("truncate", "mscale", "mscale_all_dim")
        rope = config["rope_parameters"]
        config["rope_parameters"] = {key: rope[key] for key in rope if key not in left_out}
    return config


def permute(array, heads):
    """Rows (head, 2, pair) to (head, pair, 2): LlamaModel.permute of the converter."""
    shape = (heads, 2, array.shape[0] // heads // 2, *array.shape[1:])
    return array.reshape(shape).swapaxes(1, 2).reshape(array.shape)


def slowing_factors(config):
    """LlamaModel.generate_extra_tensors of the converter."""
    rope, width = config["rope_parameters"], config["head_dim"]
    low, high, factor = (rope[k] for k in ("low_freq_factor", "high_freq_factor", "factor"))
    context, found = rope["original_max_position_embeddings"], []
    for i in range(0, width, 2):
        wavelength = 2 * np.pi * rope["rope_theta"] ** (i / width)
        if wavelength < context / high:
            found.append(1)
        elif wavelength > context / low:
            found.append(factor)
        else:
            smooth = (context / wavelength - low) / (high - low)
            found.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(found, np.float32)


def add_rope(writer, config):
    rope = config["rope_parameters"]
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    elif rope["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        for key, add in (
            ("attention_factor", writer.add_rope_scaling_yarn_attn_factor),
            ("beta_fast", writer.add_rope_scaling_yarn_beta_fast),
            ("beta_slow", writer.add_rope_scaling_yarn_beta_slow),
        ):
            if key in rope:
                add(rope[key])


def add_keys(writer, config, architecture):
    writer.add_name("a test")
    writer.add_file_type(0)
    if architecture == "gpt2":
        writer.add_block_count(config["n_layer"])
        writer.add_context_length(config["n_positions"])
        writer.add_embedding_length(config["n_embd"])
        writer.add_feed_forward_length(config["n_inner"])
        writer.add_head_count(config["n_head"])
        writer.add_layer_norm_eps(config["layer_norm_epsilon"])
        return
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    width = config["hidden_size"] // config["num_attention_heads"]
    if "head_dim" in config:
        width = config["head_dim"]
        writer.add_key_length(width)
        writer.add_value_length(width)
    if architecture == "llama":
        writer.add_vocab_size(config["vocab_size"])
        writer.add_rope_dimension_count(width)
    if config.get("sliding_window"):
        writer.add_sliding_window(config["sliding_window"])
    add_rope(writer, config)


def converted(folder, config, architecture):
    """The tensors by GGUF's names."""
    layers = config.get("num_hidden_layers", config.get("n_layer"))
    kind = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    names = gguf.get_tensor_name_map(kind, layers)
    stored, found = open_safetensors(folder / WEIGHTS), {}
    for name in stored:
        array = np.array(stored[name].read())
        if architecture == "gpt2" and name.endswith(TURNED):
            array = np.ascontiguousarray(array.T)
        if architecture == "llama" and ".q_proj." in name:
            array = permute(array, config["num_attention_heads"])
        if architecture == "llama" and ".k_proj." in name:
            array = permute(array, config["num_key_value_heads"])
        found[names.get_name(name, try_suffixes=(".weight", ".bias"))] = array
    if config.get("rope_parameters", {}).get("rope_type") == "llama3":
        found["rope_freqs.weight"] = slowing_factors(config)
    return found


def nothing(writer):
    """No further keys."""


@pytest.fixture
def convert(golden_copy, tmp_path, write_gguf):
    """Makes the GGUF file of a golden model, changed on the way, and the folder it came from."""
    folders = {}

    def make(name, *, keys=nothing, tensors=dict, dtype=np.float32):
        architecture = ARCHITECTURES[name]
        folder = folders[name] = folders.get(name) or golden_copy(name)
        config = sayable(read_json(folder / "config.json"))
        (folder / "config.json").write_text(json.dumps(config))

        def add(writer):
            add_keys(writer, config, architecture)
            keys(writer)

        found = tensors(converted(folder, config, architecture))
        # The converter keeps vectors in float32.
        found = {n: a.astype(dtype) if a.ndim > 1 else a for n, a in found.items()}
        return write_gguf(tmp_path / f"{name}.gguf", architecture, add, found), folder

    return make


def computed(path, **options):
    """Every array of every layer, and the logits at every position; no tokenizer is needed.

    In float64, where only another order of the same numbers, or a wrong one, can make a difference.
    """
    model = session.load(str(path), **options)
    model = replace(model, weights=replace(model.weights, dtype=np.float64))
    facts = model.facts
    request = Request(
        blocks=frozenset(Address("decoder", "self", layer) for layer in range(facts.layers)),
        arrays=frozenset(vocabulary.ARRAYS),
    )
    blocks, end = session.run(model, IDS, request)
    assert blocks.keys() == request.blocks
    arrays = {
        f"{b.layer}.{name}": array for b in blocks.values() for name, array in b.arrays.items()
    }
    return arrays | {"logits": session.predict(model, end.x)}


def assert_same(found, wanted, tolerance):
    assert found.keys() == wanted.keys()
    for name in found:
        if name.endswith("visible"):
            assert np.array_equal(found[name], wanted[name])
        else:
            assert row_error(found[name], wanted[name]) <= tolerance, name


# --- the numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_gguf_file_computes_what_the_folder_computes(convert, name):
    path, folder = convert(name)
    assert_same(computed(path), computed(folder), TOLERANCE[name])


@pytest.mark.parametrize(("name", "adapter"), [
    ("llama-plain", "plain"), ("llama-plain", "magnitudes"), ("llama-bias", "embedding"),
    ("gpt2-a", "inputs-first"),
])  # fmt: skip
def test_an_adapter_changes_a_file_as_it_changes_the_folder(convert, golden_copy, name, adapter):
    path, folder = convert(name)
    given = {"adapter": str(golden_copy(f"adapters/{adapter}"))}
    assert_same(computed(path, **given), computed(folder, **given), TOLERANCE[name])


def test_an_adapter_acts_on_a_model_of_ollama_as_on_its_file(
    convert, golden_copy, tmp_path, monkeypatch
):
    path, _ = convert("llama-plain")
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "ollama"))
    OllamaStore(tmp_path / "ollama").add("made", Path(path).read_bytes())
    given = {"adapter": str(golden_copy("adapters/plain"))}
    found, wanted = computed("ollama:made", **given), computed(path, **given)
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_half_precision_gives_exactly_what_its_widened_values_give(convert, packed, name):
    path, folder = convert(name, dtype=np.float16)
    stored, entries = open_safetensors(folder / WEIGHTS), {}
    for tensor in stored:
        array = np.array(stored[tensor].read())
        kind, dtype = ("F16", "<f2") if array.ndim > 1 else ("F32", "<f4")
        entries[tensor] = (kind, array.shape, array.astype(dtype).tobytes())
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).write_bytes(packed(entries))
    assert {info.dtype for info in Gguf(folder.parent / f"{name}.gguf").tensors.values()} == {
        "F16", "F32",
    }  # fmt: skip
    assert_same(computed(path), computed(folder), TOLERANCE[name])


def test_rows_that_are_not_permuted_would_be_seen(convert):
    """What makes the comparison above worth something: the wrong order gives other numbers."""

    def as_stored(tensors):
        return tensors | {"blk.0.attn_q.weight": permute(tensors["blk.0.attn_q.weight"], 4)}

    path, folder = convert("llama-plain", tensors=as_stored)
    found, wanted = computed(path), computed(folder)
    assert row_error(found["0.normed"], wanted["0.normed"]) <= 1e-6
    assert row_error(found["0.scores"], wanted["0.scores"]) > 0.01


def test_without_an_output_matrix_the_embedding_is_it(convert):
    def tied(tensors):
        return {n: a for n, a in tensors.items() if n != "output.weight"}

    path, folder = convert("mistral-window", tensors=tied)
    model = session.load(path)
    assert model.config.tied
    assert row_error(computed(path)["1.output"], computed(folder)["1.output"]) <= 1e-6


@pytest.mark.parametrize("name", ["llama-plain", "gpt2-a", "qwen3-yarn"])
def test_facts_are_those_of_the_folder(convert, name):
    path, folder = convert(name)
    found, wanted = (session.load(str(place)).facts for place in (path, folder))
    for fact in ("layers", "heads", "kv_heads", "head_width", "vocabulary", "context"):
        assert getattr(found, fact) == getattr(wanted, fact)
    assert (found.family, found.name) == (ARCHITECTURES[name], name)
    assert found.parameters == wanted.parameters


# --- rotary keys ---------------------------------------------------------------------------------


def config_of(convert, name="llama-plain", **changes):
    return session.load(convert(name, **changes)[0]).config


def test_a_factor_without_a_type_is_linear(convert):
    """As llama.cpp reads it; written by converters before there was a type."""
    plain = config_of(convert).rope
    found = config_of(convert, keys=lambda writer: writer.add_rope_scaling_factor(4.0)).rope
    wanted = [turn / 4 for turn in plain.frequencies]
    assert found.frequencies == pytest.approx(wanted, rel=1e-6)
    assert found.attention_factor == 1


def test_a_factor_is_nothing_where_the_type_says_none(convert):
    def none(writer):
        writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)
        writer.add_rope_scaling_factor(4.0)

    assert config_of(convert, keys=none).rope == config_of(convert).rope


@pytest.mark.parametrize("name", ["llama-plain", "llama-linear", "llama-yarn"])
def test_attn_factor_multiplies_what_the_scaling_gives(convert, name):
    """llama.cpp multiplies cosine and sine by it, whatever the type."""
    plain = config_of(convert, name).rope
    found = config_of(convert, name, keys=lambda w: w.add_rope_scaling_attn_factors(0.5)).rope
    assert found.frequencies == plain.frequencies
    assert found.attention_factor == pytest.approx(plain.attention_factor / 2)


def test_original_context_without_scaling_changes_nothing(convert):
    found = config_of(convert, keys=lambda w: w.add_rope_scaling_orig_ctx_len(64))
    assert found.rope == config_of(convert).rope


@pytest.mark.parametrize(
    "keys",
    [
        lambda w: w.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE),
        lambda w: w.add_string("llama.rope.scaling.type", "spiral"),
        lambda w: w.add_uint32("llama.rope.scaling.type", 2),
        lambda w: w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR),
        lambda w: w.add_rope_scaling_factor(0.0),
        lambda w: w.add_rope_scaling_factor(float("nan")),
        lambda w: w.add_rope_scaling_attn_factors(0.0),
        lambda w: w.add_rope_scaling_yarn_ext_factor(1.0),
    ],
)
def test_scaling_that_cannot_be_honoured_is_refused(convert, keys):
    with pytest.raises(ContentError, match=r"llama-plain\.gguf"):
        config_of(convert, keys=keys)


def test_a_key_that_its_kind_of_scaling_does_not_read_changes_nothing(convert):
    path, folder = convert("llama-plain", keys=lambda w: w.add_rope_scaling_yarn_beta_fast(32.0))
    assert_same(computed(path), computed(folder), 1e-6)


# --- tensors that do not fit ---------------------------------------------------------------------


def without(*names):
    return lambda tensors: {n: a for n, a in tensors.items() if n not in names}


def added(name, *shape):
    return lambda tensors: tensors | {name: np.ones(shape, np.float32)}


@pytest.mark.parametrize(
    ("name", "tensors", "said"),
    [
        ("llama-plain", without("blk.1.ffn_up.weight"), ("blk.1.ffn_up.weight", "missing")),
        ("llama-plain", without("blk.1.ffn_up.weight", "output_norm.weight"), ("and 1 more",)),
        ("llama-plain", without("token_embd.weight"), ("token_embd.weight", "missing")),
        ("llama-plain", added("blk.0.attn_q_norm.weight", 6), ("blk.0.attn_q_norm", "no place")),
        ("llama-plain", added("blk.3.attn_norm.weight", 16), ("blk.3.attn_norm", "no place")),
        ("llama-plain", added("norm.weight", 16), ("norm.weight", "no place")),
        ("llama-plain", added("blk.1.attn_q.bias", 24), ("blk.1.attn_q.bias", "no place")),
        ("llama-plain", added("output_norm.weight", 15), ("output_norm.weight is 15", "for 16")),
        ("llama-plain", added("output.weight", 16, 41), ("output.weight is 16 × 41",)),
        ("llama-plain", added("rope_freqs.weight", 2), ("2 rope factors",)),
        ("llama-bias", without("blk.1.attn_k.bias"), ("blk.1.attn_k.bias is missing",)),
        ("qwen2-window", without("blk.0.attn_q.bias"), ("blk.0.attn_q.bias is missing",)),
        ("qwen3-yarn", without("blk.0.attn_q_norm.weight"), ("blk.0.attn_q_norm.weight",)),
        ("gpt2-a", without("blk.1.ffn_up.bias"), ("blk.1.ffn_up.bias", "missing")),
        ("gpt2-a", without("token_embd.weight"), ("token_embd.weight", "missing")),
        ("gpt2-a", added("wpe.weight", 23, 21), ("wpe.weight", "no place")),
        ("gpt2-a", added("blk.0.attn_qkv.weight", 21, 63), ("blk.0.attn_qkv.weight is 21 × 63",)),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(convert, name, tensors, said):
    path, _ = convert(name, tensors=tensors)
    with pytest.raises(ContentError) as refused:
        session.load(path)
    assert all(part in refused.value.message for part in (path, *said))


# --- keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama-plain", "qwen2-window", "qwen3-yarn", "gpt2-a"])
def test_an_unknown_key_is_refused_and_accepted_on_request(convert, name):
    key = f"{ARCHITECTURES[name]}.strange_count"
    path, folder = convert(name, keys=lambda writer: writer.add_uint32(key, 8))
    with pytest.raises(ContentError) as refused:
        session.load(path)
    assert key in refused.value.message
    assert f"--ignore-config {key}" in refused.value.hint
    assert_same(computed(path, ignore_config=[key]), computed(folder), 1e-6)


def test_only_the_architectures_own_keys_are_judged(convert):
    def foreign(writer):
        writer.add_uint32("gemma3.final_logit_softcapping", 3)
        writer.add_string("tokenizer.chat_template", "{{ 1/0 }}")
        writer.add_uint32("llamas", 1)
        writer.add_bool("general.strange", True)

    path, folder = convert("llama-plain", keys=foreign)
    assert_same(computed(path), computed(folder), 1e-6)


def instead(key, value, kind=gguf.GGUFValueType.ARRAY):
    """Writes a key of llama's again, with another value; a list may hold lists."""

    def change(writer):
        writer.kv_data[0].pop(f"llama.{key}", None)
        writer.add_key_value(f"llama.{key}", value, kind)

    return change


def test_a_list_with_one_value_per_layer_is_taken_where_all_are_equal(convert):
    def lists(writer):
        instead("attention.head_count_kv", [2, 2, 2])(writer)
        instead("feed_forward_length", [13, 13, 13])(writer)

    path, folder = convert("llama-plain", keys=lists)
    assert_same(computed(path), computed(folder), 1e-6)


@pytest.mark.parametrize("counts", [[2, 2, 1], [4, 2, 2], [[2, 2], [2]], [[2], [2]], ["2", "2"]])
def test_layers_that_differ_or_hold_no_number_are_refused(convert, counts):
    with pytest.raises(ContentError, match=r"llama\.attention\.head_count_kv "):
        config_of(convert, keys=instead("attention.head_count_kv", counts))


@pytest.mark.parametrize(
    ("key", "kind", "value"),
    [
        ("attention.head_count", gguf.GGUFValueType.STRING, "4"),
        ("attention.head_count", gguf.GGUFValueType.UINT32, 0),
        ("attention.head_count", gguf.GGUFValueType.INT32, -4),
        ("attention.head_count", gguf.GGUFValueType.FLOAT32, 4.0),
        ("attention.head_count", gguf.GGUFValueType.BOOL, True),
        ("attention.head_count", gguf.GGUFValueType.UINT64, 2**64 - 1),
        ("embedding_length", gguf.GGUFValueType.STRING, "sixteen"),
        ("embedding_length", gguf.GGUFValueType.UINT32, 0),
        ("block_count", gguf.GGUFValueType.UINT32, 2**31 - 1),
        ("block_count", gguf.GGUFValueType.UINT64, 2**64 - 1),
        ("block_count", gguf.GGUFValueType.INT8, -1),
        ("attention.key_length", gguf.GGUFValueType.STRING, "6"),
        ("attention.sliding_window", gguf.GGUFValueType.STRING, "4"),
        ("attention.sliding_window", gguf.GGUFValueType.FLOAT32, 4.0),
        ("attention.sliding_window", gguf.GGUFValueType.INT32, -4),
        ("rope.freq_base", gguf.GGUFValueType.FLOAT32, float("nan")),
        ("rope.freq_base", gguf.GGUFValueType.FLOAT32, float("inf")),
        ("rope.freq_base", gguf.GGUFValueType.FLOAT32, -10000.0),
        ("rope.freq_base", gguf.GGUFValueType.STRING, "10000"),
        ("attention.layer_norm_rms_epsilon", gguf.GGUFValueType.FLOAT32, 0.0),
    ],
)
def test_values_that_cannot_be_honoured_are_refused_by_the_files_key(convert, key, kind, value):
    with pytest.raises(
        ContentError, match=rf"llama-plain\.gguf: llama\.{re.escape(key)} "
    ) as refused:
        config_of(convert, keys=instead(key, value, kind))
    assert len(refused.value.message) < 400


@pytest.mark.parametrize("width", [2**31 - 2, 5])
def test_a_width_of_a_head_that_cannot_rotate_is_refused(convert, width):
    widths = ("attention.key_length", "attention.value_length", "rope.dimension_count")
    for count, said in (
        (1, rf"llama\.attention\.value_length differs from the head width {width}"),
        (3, rf"llama\.attention\.key_length {width} is not an even number"),
    ):

        def keys(writer, count=count):
            for key in widths[:count]:
                instead(key, width, gguf.GGUFValueType.UINT32)(writer)

        with pytest.raises(ContentError, match=rf"llama-plain\.gguf: {said}"):
            config_of(convert, keys=keys)


@pytest.mark.parametrize("key", ["attention.value_length", "rope.dimension_count"])
def test_values_and_rotations_of_another_width_are_refused(convert, key):
    with pytest.raises(
        ContentError, match=rf"llama\.{re.escape(key)} differs from the head width 6"
    ):
        config_of(convert, keys=instead(key, 4, gguf.GGUFValueType.UINT32))


@pytest.mark.parametrize("missing", ["block_count", "embedding_length", "attention.head_count"])
def test_a_missing_key_is_named_as_in_the_file(convert, missing):
    with pytest.raises(ContentError, match=rf"the key llama\.{re.escape(missing)} is missing"):
        config_of(convert, keys=lambda writer: writer.kv_data[0].pop(f"llama.{missing}"))


# --- architectures -------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["grok", "arctic", "LLAMA", "llama\x1b[31m"])
def test_an_architecture_that_is_not_supported_is_named_with_those_that_are(
    tmp_path, write_gguf, architecture
):
    path = write_gguf(
        tmp_path / "other.gguf", architecture, nothing, {"a": np.ones((2, 2), np.float32)}
    )
    with pytest.raises(ContentError) as refused:
        session.load(path)
    assert refused.value.exit_code == 1
    assert not isinstance(refused.value, NoModelError)
    assert path in refused.value.message
    assert repr(architecture) in refused.value.message
    for known in ("gpt2", "llama", "qwen2", "qwen3"):
        assert known in refused.value.hint


def test_an_architecture_that_is_no_word_is_refused_in_few_words(tmp_path, write_gguf):
    def numbers(writer):
        writer.kv_data[0].pop("general.architecture")
        writer.add_array("general.architecture", list(range(5000)))

    path = write_gguf(tmp_path / "a.gguf", "x", numbers, {"a": np.ones((2, 2), np.float32)})
    with pytest.raises(ContentError, match="is not supported") as refused:
        session.load(path)
    assert len(refused.value.message) < 300


def test_a_file_without_an_architecture_is_refused(tmp_path, write_gguf):
    path = write_gguf(
        tmp_path / "a.gguf",
        "x",
        lambda writer: writer.kv_data[0].pop("general.architecture"),
        {"a": np.ones((2, 2), np.float32)},
    )
    with pytest.raises(ContentError, match=r"the key general\.architecture is missing"):
        session.load(path)


# --- what is read from the disk ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama-plain", "gpt2-a", "qwen2-window"])
def test_opening_reads_no_tensor_and_one_layer_touches_no_other(convert, monkeypatch, name):
    path, _ = convert(name, dtype=np.float16)
    whole, by_row = [], []

    def name_of(tensor):
        return tensor.where.removeprefix(f"{path}: tensor ").removesuffix(":")

    def read(self, original=Tensor.read):
        whole.append(name_of(self))
        return original(self)

    def rows(self, indices, out=None, original=Tensor.rows):
        by_row.append((name_of(self), list(indices)))
        return original(self, indices, out)

    monkeypatch.setattr(Tensor, "read", read)
    monkeypatch.setattr(Tensor, "rows", rows)
    model = session.load(path)
    assert (whole, by_row) == ([], [])
    first = frozenset([Address("decoder", "self", 0)])
    request = Request(
        blocks=first, heads={"decoder": (0,)}, arrays=frozenset(["weights"]), whole=False
    )
    session.run(model, IDS, request)
    assert ("token_embd.weight", list(IDS)) in by_row
    read = {*whole, *(name for name, _ in by_row)} - {"token_embd.weight", "position_embd.weight"}
    assert {name.split(".")[1] for name in read} == {"0"}


# --- keys that a file must have, and keys that say nothing ---------------------------------------

ALWAYS = ("block_count", "context_length", "embedding_length", "feed_forward_length",
          "attention.head_count")  # fmt: skip
NEEDS = [
    (name, f"{ARCHITECTURES[name]}.{key}")
    for name in ("llama-plain", "qwen2-window", "qwen3-yarn", "gpt2-a")
    for key in (*ALWAYS, f"attention.layer_norm_{'' if name == 'gpt2-a' else 'rms_'}epsilon")
]


@pytest.mark.parametrize(("name", "key"), NEEDS)
def test_a_key_that_llama_cpp_asks_for_is_missed_by_its_own_name(convert, name, key):
    path, _ = convert(name, keys=lambda writer: writer.kv_data[0].pop(key))
    with pytest.raises(ContentError, match=rf"the key {re.escape(key)} is missing$"):
        session.load(path)


def test_a_head_width_of_its_own_is_said_for_keys_and_for_values(convert):
    """As llama.cpp has it, a width that is not said is an equal share of the model's."""
    said = "llama.attention.value_length"
    path, _ = convert("llama-plain", keys=lambda writer: writer.kv_data[0].pop(said))
    with pytest.raises(ContentError, match=f"{said} differs from the head width"):
        session.load(path)


@pytest.mark.parametrize(("key", "value", "other"), [
    ("tensor_data_layout", "Meta AI original pth", "transposed"),
    ("tensor_data_layout", "reference", "jploski"), ("attention.causal", True, False),
    ("rope.scale_linear", 1.0, 2.0), ("logit_scale", 1.0, 0.5), ("residual_scale", 1.0, 0.5),
    ("expert_shared_count", 0, 1), ("attention.clamp_kqv", 0.0, 8.0),
])  # fmt: skip
def test_keys_that_say_what_holds_anyway_are_read_and_others_refused(convert, key, value, other):
    def said(given):
        kind = {str: gguf.GGUFValueType.STRING, bool: gguf.GGUFValueType.BOOL,
                float: gguf.GGUFValueType.FLOAT32, int: gguf.GGUFValueType.UINT32}  # fmt: skip
        add = lambda writer: writer.add_key_value(f"llama.{key}", given, kind[type(given)])  # noqa: E731
        return convert("llama-plain", keys=add)[0]

    found = {name: array.copy() for name, array in computed(said(value)).items()}
    assert_same(found, computed(convert("llama-plain")[0]), 0)
    with pytest.raises(ContentError, match=rf"llama\.{key} is {other}, which") as refused:
        session.load(said(other))
    assert refused.value.hint.endswith(f"--ignore-config llama.{key}")


def test_the_layout_of_llamas_own_files_is_no_other_familys(convert):
    layout = lambda writer: writer.add_tensor_data_layout("Meta AI original pth")  # noqa: E731
    with pytest.raises(ContentError, match="tensor_data_layout is Meta AI"):
        session.load(convert("qwen2-window", keys=layout)[0])

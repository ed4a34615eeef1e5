"""Quantised folders: what fits is one model with plain names, what does not is refused by name."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from made_folders import document, made_folder
from safetensors_files import CODES, read, write

from attn_cli import room_of_file, session
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.errors import ContentError
from attn_cli.model.request import Request
from attn_cli.notes import shape_notes
from attn_cli.opening.listing import contents
from attn_cli.opening.quantised import read_scheme
from measure import counted, row_error, same_bits

GOLDEN = Path(__file__).parent.parent / "golden"
SECTION = {
    "quant_method": "compressed-tensors", "format": "int-quantized", "ignore": ["lm_head"],
    "config_groups": {"group_0": {
        "targets": ["Linear"], "weights": {"num_bits": 8, "type": "int", "strategy": "channel"},
        "input_activations": {"num_bits": 8, "dynamic": True, "strategy": "token"},
    }},
}  # fmt: skip


def test_a_config_that_says_quantised_over_plain_numbers_is_told_as_it_is(tmp_path):
    config = document("gpt_oss-a")["config"] | {"quantization_config": {"quant_method": "mxfp4"}}
    plain = session.load(str(made_folder(tmp_path / "plain", "gpt_oss-a")))
    model = session.load(str(made_folder(tmp_path / "said", "gpt_oss-a", config)))
    (said,) = map(str, shape_notes(model))
    assert "the config says that the weights are quantised (MXFP4" in said
    assert "but the file has plain numbers" in said and "stand for" not in said
    assert not shape_notes(plain)
    for name in plain.weights.stored:
        assert np.array_equal(model.weights[name], plain.weights[name])


# --- whole folders -------------------------------------------------------------------------------


@pytest.fixture
def folders(golden_copy, tmp_path):
    """A model whose matrices are in 8 bits, a scale per output, and the one it stands for."""

    def make(name="llama-bias", section=SECTION, rename=lambda name: name):
        plain, packed = golden_copy(name), tmp_path / "packed"
        packed.mkdir()
        tensors, _ = read(plain / "model.safetensors")
        kept, small = {}, {}
        for place, (dtype, array) in tensors.items():
            if "_proj.weight" not in place:
                kept[place] = small[place] = dtype, array
                continue
            scale = np.abs(array).max(axis=1, keepdims=True) / np.float32(127)
            codes = np.round(array / scale).astype(np.int8)
            small[place] = "I8", codes
            small[rename(f"{place}_scale")] = "F32", scale
            kept[place] = "F32", codes.astype(np.float32) * scale
        write(plain / "model.safetensors", kept)
        write(packed / "model.safetensors", small)
        config = json.loads((plain / "config.json").read_text())
        (packed / "config.json").write_text(json.dumps(config | {"quantization_config": section}))
        return packed, plain

    return make


def test_a_quantised_folder_computes_what_its_plain_numbers_compute(folders):
    packed, plain = folders()
    ids = (3, 1, 4, 1, 5)
    one, other = (session.trace(model=str(path), ids=ids) for path in (packed, plain))
    assert same_bits(one, other)
    assert one.model.parameters == other.model.parameters
    many = tuple(range(19))
    assert same_bits(*(session.trace(model=str(path), ids=many) for path in (packed, plain)))


def test_what_is_said_of_it(folders):
    packed, plain = folders()
    model = session.load(str(packed))
    assert model.facts.quantised == "compressed-tensors (int-quantized), 8-bit int"
    notes = [str(note) for note in session.trace(model=model, ids=(1,)).notes]
    assert any("does not round what enters a matrix" in note for note in notes)
    assert not any("quantised" in str(n) for n in session.trace(model=str(plain), ids=(1,)).notes)
    kinds = {tensor.name: tensor.dtype for tensor in contents(model).tensors}
    assert kinds["layers.0.self_attn.q_proj.weight"] == "INT8"
    assert kinds["layers.0.input_layernorm.weight"] == "F32"


def test_sizes_are_those_of_the_file_and_room_is_that_of_floats(folders):
    packed, plain = folders()
    small, large = (session.load(str(path)) for path in (packed, plain))
    stored, _ = read(packed / "model.safetensors")
    assert small.weights.size == sum(array.nbytes for _, array in stored.values())
    assert small.weights.size < large.weights.size
    made = [t for t in small.weights.tensors.values() if t.dtype != "F32"]
    held = session.family.in_memory(small)
    # Of the embedding only rows are read; beside what was made stands the largest of the file's.
    kept = [t for name, t in small.weights.tensors.items() if "embed_tokens" not in name]
    pages = max(tensor.size for tensor in made)
    assert (
        room_of_file.held(held, Request())
        == 4 * sum(math.prod(tensor.shape) for tensor in kept) + pages
    )


def test_a_module_that_is_said_to_be_left_out_is_refused_if_it_is_not(folders):
    packed, _ = folders(section=SECTION | {"ignore": ["re:.*layers.1.*gate_proj"]})
    with pytest.raises(ContentError) as refused:
        session.load(str(packed))
    said = "model.layers.1.mlp.gate_proj is quantised, though the config says that it is not"
    assert said in refused.value.message and "gate_proj" in refused.value.hint


def test_a_part_under_another_name_is_refused(folders):
    packed, _ = folders(rename=lambda name: name.replace("weight_scale", "weight_scales"))
    with pytest.raises(ContentError, match=r"down_proj\.weight_scale is missing"):
        session.load(str(packed))


def biased(number, places):
    """The quantised tensors with a bias for each of these matrices, which the family has not."""

    def change(path):
        tensors, _ = read(path)
        for place in places:
            rows = len(tensors[f"{place}.weight"][1])
            tensors[f"{place}.bias"] = "F32", np.full(rows, number, np.float32)
        write(path, tensors)

    return change


def test_biases_of_zeros_that_the_family_has_not_are_passed_over(folders):
    packed, _ = folders("llama-plain")
    wanted = session.trace(model=str(packed), ids=(3, 1, 4))
    places = ["model.layers.0.mlp.down_proj", "model.layers.1.self_attn.q_proj"]
    biased(0, places)(packed / "model.safetensors")
    assert same_bits(session.trace(model=str(packed), ids=(3, 1, 4)), wanted)
    biased(1e-3, places[1:])(packed / "model.safetensors")
    with pytest.raises(ContentError, match=r"layers\.1\.self_attn\.q_proj\.bias has no place"):
        session.load(str(packed))
    biased(0, places)(packed / "model.safetensors")
    biased(0, ["model.norm"])(packed / "model.safetensors")
    with pytest.raises(ContentError, match=r"model\.norm\.bias has no place"):
        session.load(str(packed))


def test_an_adapter_stands_on_quantised_weights_as_on_plain_ones(folders):
    packed, plain = folders("llama-bias")
    given = {"adapter": str(GOLDEN / "adapters" / "embedding")}
    one, other = (session.load(str(path), **given) for path in (packed, plain))
    ids = (3, 1, 4, 1, 5)
    assert same_bits(*(session.trace(model=model, ids=ids) for model in (one, other)))


def test_matrices_that_the_family_has_input_first_are_stored_output_first(golden_copy):
    """As bitsandbytes has GPT-2's: of square ones too, which no shape would tell."""
    folder = golden_copy("gpt2-a")
    tensors, _ = read(folder / "model.safetensors")
    kept, small = dict(tensors), dict(tensors)
    for place, (_, array) in tensors.items():
        if array.ndim == 2 and ".h." in place:
            largest = np.abs(array).max(axis=0)
            codes = np.round(array.T / largest[:, None] * 127).astype(np.int8)
            small |= {place: ("I8", codes), place.replace("weight", "SCB"): ("F32", largest)}
            kept[place] = "F32", codes.T * largest * np.float32(1 / 127)
    ids, found = (3, 1, 4, 1, 5), []
    config = json.loads((folder / "config.json").read_text())
    section = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    for tensors, own in (kept, {}), (small, {"quantization_config": section}):
        write(folder / "model.safetensors", tensors)
        (folder / "config.json").write_text(json.dumps(config | own))
        found.append(session.trace(model=str(folder), ids=ids).logits)
    assert row_error(*found) <= 1e-5


def test_without_a_section_the_parts_are_refused(folders):
    packed, _ = folders(section=None)
    with pytest.raises(ContentError, match="no quantization_config says of which kind"):
        session.load(str(packed))


SECTIONS = (GOLDEN / "quantised_sections.json").read_text()


@pytest.mark.parametrize("name", json.loads(SECTIONS))
def test_sections_as_programs_write_them_are_read_to_their_last_key(name):
    unknown = []
    values = {"quantization_config": json.loads(SECTIONS)[name]}
    scheme = read_scheme(values, "config.json", (), unknown)
    assert scheme.how
    assert not unknown


# --- parts that do not fit -----------------------------------------------------------------------


def opened(tmp_path, name, change=lambda parts: None, **keys):
    """A golden with its parts and its section changed, read as far as its first row."""
    tensors, section = read(GOLDEN / "packed" / f"{name}.safetensors")
    tensors.pop("wanted")
    change(tensors)
    write(tmp_path / "changed.safetensors", tensors)
    values = {"quantization_config": {**section, **keys}}
    scheme = read_scheme(values, "config.json", (), [])
    found = scheme.unpack(open_safetensors(tmp_path / "changed.safetensors"), "here")
    return found["m.weight"].rows([0])


def gone(end):
    return lambda parts: parts.pop(f"m.{end}")


def cut(end, axis=0):
    def change(parts):
        dtype, array = parts[f"m.{end}"]
        parts[f"m.{end}"] = dtype, np.delete(array, 0, axis)

    return change


def typed(end, dtype):
    def change(parts):
        array = parts[f"m.{end}"][1]
        parts[f"m.{end}"] = dtype, np.zeros(array.shape, CODES[dtype])

    return change


def filled(end, number):
    def change(parts):
        parts[f"m.{end}"][1].reshape(-1)[0] = number

    return change


def beside(parts):
    parts["m.weight"] = "F32", np.zeros((32, 64), np.float32)


PARTS = {
    "twice": ("gptq-4", beside, "the tensor m.weight stands there twice, plain and quantised"),
    "missing": ("gptq-4", gone("qzeros"), "m.qzeros is missing, which m.qweight needs"),
    "no matrix": ("awq-16", gone("qweight"), "the tensor m.qweight is missing"),
    "acts": ("gptq-acts", gone("g_idx"), "m.g_idx is missing"),
    "type": ("gptq-4", typed("qweight", "I64"), "m.qweight has dtype I64, not I32 or U32"),
    "scales": ("gptq-4", cut("scales"), "m.scales is 3 × 32, not 4 × 32"),
    "zeros": ("gptq-4", cut("qzeros", 1), "m.qzeros is 4 × 3, not 4 × 4"),
    "zero": ("gptq-4", filled("qzeros", -1), "m has a zero of 16, which its readers"),
    "index": ("gptq-acts", filled("g_idx", 9), "m has a g_idx that names a group beyond its 4"),
    "below": ("gptq-acts", filled("g_idx", -1), "m has a g_idx that names a group beyond"),
    "not a number": ("gptq-4", filled("scales", np.nan), "m has a scale that is not a finite"),
    "infinite": ("awq-16", filled("scales", np.inf), "m has a scale that is not a finite"),
    "words": ("gptq-3", cut("qweight"), "m.qweight does not hold whole numbers of 3 bits"),
    "scale of fp8": ("fp8-blocks", gone("weight_scale_inv"), "m.weight_scale_inv is missing"),
    "grid": ("fp8-blocks", cut("weight_scale_inv", 1), "m.weight_scale_inv is 2 × 2, not 2 × 3"),
    "power": ("fp8-powers", filled("weight_scale_inv", 255), "m has a scale that is not a finite"),
    "plain": ("fp8-blocks", typed("weight", "F16"), "m.weight has dtype F16, not F8_E4M3"),
    "state": ("nf4", filled("weight.quant_state.bitsandbytes__nf4", 0), "is not a JSON object"),
    "no state": ("nf4", gone("weight.quant_state.bitsandbytes__nf4"), "__nf4 is missing"),
    "map": ("nf4", cut("weight.quant_map"), "m.weight.quant_map is 15, not 16"),
    "largest": ("nf4", cut("weight.absmax"), "m.weight.absmax is 25, not 26"),
    "nested": ("nf4-twice", typed("weight.nested_absmax", "F16"), "has dtype F16, not F32"),
    "bytes": ("fp4", cut("weight"), "m.weight has 831 bytes for 1664 numbers of 4 bits"),
    "SCB": ("int8", gone("SCB"), "m.SCB is missing"),
    "rows": ("int8", filled("weight_format", 2), "m.weight_format is not 0"),
    "shape": ("ct-int4", filled("weight_shape", 31), "m.weight_packed is 32 × 6, not 31 × 6"),
    "packed": ("ct-int4", gone("weight_packed"), "m.weight_packed is missing"),
    "asymmetric": ("ct-int4-zeros", gone("weight_zero_point"), "m.weight_zero_point is missing"),
    "channel": ("ct-int8", cut("weight_scale"), "m.weight_scale is 31 × 1, not 32 × 1 or 32"),
    "mlx": ("mlx-4", gone("biases"), "m.biases is missing"),
    "mlx scales": ("mlx-4", cut("scales", 1), "m.scales is 24 × 1, not 24 × 2"),
}


@pytest.mark.parametrize("case", PARTS)
def test_parts_that_do_not_fit_are_refused_by_name(tmp_path, case):
    name, change, said = PARTS[case]
    with pytest.raises(ContentError) as refused:
        opened(tmp_path, name, change)
    assert said in refused.value.message and refused.value.message.startswith("here: ")
    assert "\n" not in refused.value.message + refused.value.hint


KEYS = {
    "bits": ("gptq-4", {"bits": 5}, "bits is 5"),
    "other bits": ("gptq-4", {"bits": 8}, "m.scales is 4 × 32, not 2 × 32"),
    "group": ("gptq-4", {"group_size": 24}, "64 inputs do not divide into groups of 24"),
    "no group": ("gptq-4", {"group_size": 0}, "group_size is 0"),
    "dynamic": ("gptq-4", {"dynamic": {"x": {"bits": 8}}}, "dynamic is {"),
    "layout": ("gptq-4", {"checkpoint_format": "marlin"}, "checkpoint_format is 'marlin'"),
    "awq bits": ("awq-16", {"bits": 3}, "bits is 3"),
    "gemv": ("awq-16", {"version": "gemv"}, "version is 'gemv'"),
    "symmetric": ("awq-16", {"zero_point": False}, "zero_point is false"),
    "skipped": ("awq-16", {"modules_to_not_convert": ["m"]}, "m is quantised, though the config"),
    "both": ("nf4", {"load_in_8bit": True}, "not one of load_in_4bit and load_in_8bit is true"),
    "many": ("awq-16", {"modules_to_not_convert": ["x"] * 5000}, "leaves 5,000 modules out"),
    "kind": ("nf4", {"bnb_4bit_quant_type": "int4"}, "bnb_4bit_quant_type is 'int4'"),
    "block": ("fp8-blocks", {"weight_block_size": [128, 0]}, "weight_block_size is 0"),
    "blocks": ("fp8-blocks", {"weight_block_size": [128, 128]}, "is 2 × 3, not 1 × 1"),
    "e5m2": ("fp8-blocks", {"fmt": "e5m2"}, 'fmt is "e5m2"'),
    "form": ("ct-int4", {"format": "nvfp4-pack-quantized"}, "format is 'nvfp4-pack-quantized'"),
    "sparse": ("ct-int4", {"sparsity_config": {"format": "sparse-24"}}, 'format is "sparse-24"'),
    "cache": ("ct-int4", {"kv_cache_scheme": {"num_bits": 8}}, "kv_cache_scheme is {"),
    "turned": ("ct-int4", {"transform_config": {"a": 1}}, "transform_config is {"),
    "no groups": ("ct-int4", {"config_groups": {}}, "no group of config_groups names it"),
    "mlx bits": ("mlx-4", {"bits": 7}, "bits is 7"),
    "mlx mode": ("mlx-4", {"mode": "mxfp4"}, 'mode is "mxfp4"'),
    "mlx left out": ("mlx-4", {"m": False}, "m is quantised, though the config"),
    "mlx of its own": ("mlx-4", {"m": {"bits": 8, "group_size": 64}}, "is 24 × 2, not 24 × 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", KEYS)
def test_values_of_the_config_that_are_not_computed_are_refused_by_name(tmp_path, case):
    name, keys, said = KEYS[case]
    with pytest.raises(ContentError) as refused:
        opened(tmp_path, name, **keys)
    assert said in refused.value.message


@pytest.mark.parametrize(("pattern", "left_out"), [
    ("q_proj", True), ("layers.1", False), ("model.layers.1", True), ("model.layers.1.mlp", False),
    ("model.layers.*", True), ("model.layers.10", False), ("(", False), ("model.lay", False),
    ("(([a-z._0-9]+)+)+!", False), ("(a|[a-z._0-9])*!", False), (2000 * ".", False),
])  # fmt: skip
def test_modules_left_out_are_meant_as_the_reference_means_them(tmp_path, pattern, left_out):
    tensors, section = read(GOLDEN / "packed" / "awq-16.safetensors")
    tensors.pop("wanted")
    name = "model.layers.1.self_attn.q_proj"
    write(tmp_path / "x.safetensors", {n.replace("m.", f"{name}."): t for n, t in tensors.items()})
    section["modules_to_not_convert"] = ["x", pattern]
    scheme = read_scheme({"quantization_config": section}, "config.json", (), [])
    stored = open_safetensors(tmp_path / "x.safetensors")
    if left_out:
        with pytest.raises(ContentError, match="says that it is not"):
            scheme.unpack(stored, "here")
    else:
        assert list(scheme.unpack(stored, "here")) == [f"{name}.weight"]


def test_what_is_too_large_for_float16_is_infinite_as_in_the_library(tmp_path):
    found = opened(tmp_path, "ct-int8-zeros", filled("weight_scale", 6e4))
    tensors, _ = read(GOLDEN / "packed" / "ct-int8-zeros.safetensors")
    codes, zeros = (tensors[f"m.weight{end}"][1][0].astype(int) for end in ("", "_zero_point"))
    with np.errstate(over="ignore"):
        wanted = (codes - zeros).astype(np.float16) * np.float16(6e4)
    assert np.isinf(wanted).any()
    assert np.array_equal(found[0], wanted.astype(np.float32))


def test_groups_of_modules_may_have_sizes_of_their_own(tmp_path):
    wanted = opened(tmp_path, "mlx-4")
    own = {"bits": 2, "m": {"bits": 4, "group_size": 64}}
    assert np.array_equal(opened(tmp_path, "mlx-4", **own), wanted)
    weights = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 16}
    groups = {
        "a": {"targets": ["re:.*x$"], "weights": {"num_bits": 8, "strategy": "channel"}},
        "b": {"targets": ["re:m"], "weights": weights},
    }
    found = opened(tmp_path, "ct-int4", config_groups=groups)
    assert np.array_equal(found, opened(tmp_path, "ct-int4"))


def test_a_block_larger_than_the_matrix_takes_no_more_than_the_matrix(tmp_path):
    with counted() as work:
        found = opened(tmp_path, "fp8-matrix", weight_block_size=[10**9, 10**9])
    assert np.array_equal(found, opened(tmp_path, "fp8-matrix"))
    assert work.memory < 1 << 20


def test_keys_that_mean_nothing_are_told():
    section = {"quant_method": "gptq", "bits": 4, "group_size": 8, "xyzzy": 1, "damp_percent": 0.1}
    unknown = []
    read_scheme({"quantization_config": section}, "config.json", (), unknown)
    assert unknown == ["quantization_config.xyzzy"]

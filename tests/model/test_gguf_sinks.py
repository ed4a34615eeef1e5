"""Models with sinks in other forms: experts in floats of four bits, and GGUF files."""

import json

import gguf
import numpy as np
import pytest
from gguf_keys import add_sizes
from made_folders import document, made_folder, write_model
from sink_models import CONFIG, blocks, numbers, plain

from attn_cli import session, vocabulary
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.errors import ContentError
from attn_cli.families import gpt_oss
from attn_cli.model.config import ConfigReader
from measure import row_error

IDS = (3, 1, 4, 1, 5, 9, 2, 6)
MXFP4 = gguf.GGMLQuantizationType.MXFP4


def config_without_blocks():
    return {key: value for key, value in CONFIG.items() if key != "quantization_config"}


@pytest.fixture(scope="module")
def plain_folder(tmp_path_factory):
    """The numbers that the blocks stand for, as the reference stores them, (input, output)."""
    place = tmp_path_factory.mktemp("plain")
    of_experts = {n: numbers(*both).swapaxes(1, 2) for n, both in blocks().items()}
    write_model(place, config_without_blocks(), plain() | of_experts)
    return place


@pytest.fixture(scope="module")
def four_bit_folder(tmp_path_factory, packed):
    place = tmp_path_factory.mktemp("blocks")
    (place / "config.json").write_text(json.dumps(CONFIG))
    entries = {n: ("F32", a.shape, np.ascontiguousarray(a).tobytes()) for n, a in plain().items()}
    for name, both in blocks().items():
        for end, array in zip(("blocks", "scales"), both, strict=True):
            entries[f"{name}_{end}"] = ("U8", array.shape, array.tobytes())
    (place / "model.safetensors").write_bytes(packed(entries))
    return place


# --- the converter -------------------------------------------------------------------------------


def add_keys(writer, config):
    add_sizes(writer, config)
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_expert_count(config["num_local_experts"])
    writer.add_expert_used_count(config["num_experts_per_tok"])
    writer.add_sliding_window(config["sliding_window"])
    writer.add_expert_feed_forward_length(config["intermediate_size"])
    rope = config.get("rope_parameters") or config["rope_scaling"]
    writer.add_rope_freq_base(rope.get("rope_theta", config.get("rope_theta")))
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])


def relaid(packed, scales):
    """A group's numbers 0 to 15 in the low halves, 16 to 31 in the high ones, after the scale."""
    halves = np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], 32)
    bytes_ = halves[..., :16] | (halves[..., 16:] << 4)
    both = np.concatenate([scales[..., None], bytes_], axis=-1)
    return both.reshape(*packed.shape[:2], -1)


def converted(tensors, config, four_bits):
    """Names, order and halves as the converter writes them, and which arrays are bytes."""
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GPT_OSS, config["num_hidden_layers"])
    found, kinds = {}, {}

    def put(name, end, array, kind=None):
        place = f"{names.get_name(name)}.{end}"
        found[place] = np.ascontiguousarray(array)
        kinds.update({place: kind} if kind else {})

    for name, array in tensors.items():
        stem, end = name.rpartition(".")[::2]
        if "experts." not in name:
            put(name, "weight", array) if end == "sinks" else put(stem, end, array)
        elif name.endswith("_bias"):
            split(put, name.removesuffix("_bias"), "bias", array)
        else:
            split(put, name, "weight", array.swapaxes(1, 2))
    for name, both in four_bits.items():
        split(put, name, "weight", relaid(*both), MXFP4)
    return found, kinds


def split(put, name, end, array, kind=None):
    if not name.endswith("gate_up_proj"):
        put(name, end, array, kind)
        return
    for share, part in enumerate(("gate_proj", "up_proj")):
        put(name.replace("gate_up_proj", part), end, array[:, share::2], kind)


def file_of(write_gguf, path, config, tensors, four_bits):
    found, kinds = converted(tensors, config, four_bits)
    return write_gguf(path, "gpt-oss", lambda w: add_keys(w, config), found, kinds)


def same(first, second, tolerance=0.0):
    """Every array of every layer and the logits."""
    traces = [session.trace(ids=IDS, model=str(place), arrays=vocabulary.ARRAYS)
              for place in (first, second)]  # fmt: skip
    assert np.abs(traces[0].logits - traces[1].logits).max() <= 10 * tolerance
    for block, other in zip(*(trace.attention for trace in traces), strict=True):
        assert {"sink", "sink_share"} <= block.arrays.keys() == other.arrays.keys()
        for name, array in block.arrays.items():
            assert row_error(array, other.arrays[name]) <= tolerance, name
    return traces


# --- the same numbers ----------------------------------------------------------------------------


def test_experts_of_four_bits_are_the_numbers_they_stand_for(four_bit_folder, plain_folder):
    """Products of columns are not added up in the order of those of rows."""
    found, _ = same(four_bit_folder, plain_folder, tolerance=2e-6)
    said = " ".join(map(str, found.notes))
    assert "MXFP4" in said and "experts_per_token, initial_context_length" in said


def test_a_gguf_file_of_four_bits_gives_the_same_digits(
    four_bit_folder, write_gguf, tmp_path_factory
):
    path = tmp_path_factory.mktemp("gguf") / "four.gguf"
    same(file_of(write_gguf, path, config_without_blocks(), plain(), blocks()), four_bit_folder)


@pytest.mark.parametrize("name", ["gpt_oss-a", "gpt_oss-b"])
def test_a_gguf_file_opens_as_the_folder(name, write_gguf, tmp_path):
    place, config = made_folder(tmp_path / name, name), document(name)["config"]
    tensors = {n: t.read() for n, t in open_safetensors(place / "model.safetensors").items()}
    # What the converter has no key for.
    config |= {"layer_types": ["sliding_attention", "full_attention"],
               "swiglu_alpha": 1.702, "swiglu_limit": 7.0}  # fmt: skip
    (place / "config.json").write_text(json.dumps(config))
    path = file_of(write_gguf, tmp_path / "model.gguf", config, tensors, {})
    same(path, place, tolerance=1e-5)


def test_a_file_of_ollamas_converter_opens_as_the_folder(write_gguf, four_bit_folder, tmp_path):
    """It says no kind of scaling, and calls three tensors otherwise."""
    renamed = {"attn_output": "attn_out", "post_attention_norm": "ffn_norm",
               "attn_sinks.weight": "attn_sinks"}  # fmt: skip

    def own(name):
        for other, ollamas in renamed.items():
            name = name.replace(other, ollamas)
        return name

    def add(writer):
        config = config_without_blocks()
        rope = config["rope_scaling"]
        add_keys(writer, config | {"rope_scaling": rope | {"rope_type": "default"}})
        writer.add_float32("gptoss.rope.scaling.factor", rope["factor"])
        length = rope["original_max_position_embeddings"]
        writer.add_uint32("gptoss.rope.scaling.original_context_length", length)

    found, kinds = converted(plain(), config_without_blocks(), blocks())
    found, kinds = ({own(name): of[name] for name in of} for of in (found, kinds))
    same(write_gguf(tmp_path / "o.gguf", "gptoss", add, found, kinds), four_bit_folder)


# --- what is read --------------------------------------------------------------------------------


def test_of_experts_no_byte_is_read_but_of_those_in_use(four_bit_folder):
    """A row of a matrix is read once; what the pass reports are the bytes of just these."""
    model, used = session.load(str(four_bit_folder)), {}
    rows, tensors = {}, dict(model.weights.tensors)

    def counted(name, tensor):
        def widen(kind, numbers, out):
            rows.setdefault(name, []).extend(numbers.reshape(-1).tolist())
            return tensor.widen(kind, numbers, out)

        return tensor._replace(widen=widen)

    places = [name for name in tensors if name.endswith("_blocks")]
    assert len(places) == 4
    model.weights.tensors.update({name: counted(name, tensors[name]) for name in places})
    prompt = session.tokenise(model, ids=IDS[:2])
    steps = list(session.steps(session.ask(prompt=prompt, model=model, arrays=["x"])))
    passed = [step for step in steps if hasattr(step, "read")]
    for step in passed:
        used[step.layer] = set(np.unique(step.experts.chosen).tolist())
        assert 2 <= len(used[step.layer]) < 6
    read = 0
    for name in places:
        layer = int(name.split(".")[2])
        outputs = tensors[name].shape[1]
        wanted = {e * outputs + row for e in used[layer] for row in range(outputs)}
        assert set(rows[name]) == wanted and len(rows[name]) == len(wanted)
        read += tensors[name].size // 6 * len(used[layer])
    of_layers = {n: t for n, t in tensors.items() if ".layers." in n and n not in places}
    others = sum(t.size for n, t in of_layers.items() if ".experts." not in n)
    assert passed[-1].read == read + others


# --- what a config leaves out --------------------------------------------------------------------


@pytest.mark.parametrize("more", [{}, {"rope_scaling": None, "rope_parameters": None}])
def test_what_a_config_leaves_out_is_as_in_the_largest_model(more, golden_path):
    """The reference's class has the numbers of gpt-oss-120b, its scaling included."""
    path = golden_path / "published_types" / "sinks.json"
    published = json.loads(path.read_text())["openai/gpt-oss-120b"]
    bare = gpt_oss.read_config(ConfigReader({"model_type": "gpt_oss", **more}, "config.json"))
    assert bare == gpt_oss.read_config(ConfigReader(published, "config.json"))
    assert bare.windows == (128, 0) * 18 and (bare.alpha, bare.limit) == (1.702, 7.0)
    plain = {"model_type": "gpt_oss", "rope_parameters": {"rope_type": "default"}}
    rope = gpt_oss.read_config(ConfigReader(plain, "config.json")).rope
    assert rope.frequencies[1] == pytest.approx(150_000 ** (-2 / 64))


# --- what is refused -----------------------------------------------------------------------------

UNFIT = {
    "num_local_experts": (7, "ask for 7 experts"),
    "num_experts_per_tok": (7, "num_experts_per_tok 7 is more than num_local_experts 6"),
    "sliding_window": (None, "the key sliding_window is missing"),
    "layer_types": (["full_attention"], "layer_types is not a list of 2 words"),
    "swiglu_limit": ("7", "swiglu_limit is '7', not a finite number"),
    "rope_scaling": ({"full_attention": {"rope_type": "default"}}, "full_attention is"),
    "quantization_config": ({"quant_method": "mxfp5"}, "the weights are quantised"),
    "compression_config": (None, "_proj_scales is a part of quantised weights, and no"),
}


@pytest.mark.parametrize("key", UNFIT)
def test_what_does_not_fit_is_refused_by_name(key, four_bit_folder, tmp_path):
    value, said = UNFIT[key]
    config = config_without_blocks() if key == "compression_config" else CONFIG
    (tmp_path / "config.json").write_text(json.dumps(config | {key: value}))
    (tmp_path / "model.safetensors").hardlink_to(four_bit_folder / "model.safetensors")
    with pytest.raises(ContentError) as refused:
        session.load(str(tmp_path))
    assert said in refused.value.message


def test_a_sink_that_is_missing_is_named(plain_folder, repack, tmp_path):
    write_model(tmp_path, config_without_blocks(), {
        name: tensor.read()
        for name, tensor in open_safetensors(plain_folder / "model.safetensors").items()
        if name != "model.layers.1.self_attn.sinks"
    })  # fmt: skip
    with pytest.raises(ContentError, match=r"model\.layers\.1\.self_attn\.sinks is missing"):
        session.load(str(tmp_path))

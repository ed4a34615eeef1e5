"""Llama and its siblings against the reference library, and every refusal of a config."""

import json

import numpy as np
import pytest

from attn_cli import session, vocabulary
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.errors import ContentError
from attn_cli.families import llama, mistral, qwen2, qwen3
from attn_cli.model.config import ConfigReader
from measure import logits_of, row_error, same_bits

MODELS = (
    "llama-plain", "llama-bias", "llama-linear", "llama-llama3", "llama-yarn", "mistral-window",
    "qwen2-window", "qwen3-yarn",
)  # fmt: skip
TOLERANCE = 1e-5
WEIGHTS = "model.safetensors"
IDS = (3, 1, 4, 1, 5, 9)


def read_json(path):
    return json.loads(path.read_text())


def window_of(config, layer):
    """How many keys a query of this layer sees, as the reference's documentation has it."""
    if config["model_type"] == "qwen2":
        sliding = config["use_sliding_window"] and layer >= config["max_window_layers"]
        return config["sliding_window"] if sliding else 10**9
    return config.get("sliding_window") or 10**9


def reference(folder):
    """The golden activations, and in float64 what follows from them."""
    with np.load(folder / "activations.npz") as archive:
        golden = dict(archive)
    config, stored = read_json(folder / "config.json"), open_safetensors(folder / WEIGHTS)
    for layer in range(config["num_hidden_layers"]):
        q, k, z = (golden[f"{layer}.{name}"].astype(np.float64) for name in "qkz")
        heads, tokens, width = q.shape
        group = heads // len(k)
        scores = np.stack([q[head] @ k[head // group].T for head in range(heads)])
        limit = window_of(config, layer)
        visible = np.array([[0 <= i - j < limit for j in range(tokens)] for i in range(tokens)])
        w_o = stored[f"model.layers.{layer}.self_attn.o_proj.weight"].read().astype(np.float64)
        pulls = [z[h] @ w_o[:, h * width : (h + 1) * width].T for h in range(heads)]
        scaled = scores / np.sqrt(width)
        found = {
            "scores": scores, "scaled": scaled, "visible": visible,
            "masked": np.where(visible, scaled, -np.inf), "head_output": np.stack(pulls),
        }  # fmt: skip
        golden |= {f"{layer}.{name}": array for name, array in found.items()}
    return golden


def check_against(golden, model):
    """Every array of every layer, and the logits at every position."""
    trace = session.trace(ids=golden["ids"].tolist(), model=model)
    stored = [key.split(".") for key in golden if "." in key]
    assert len(trace.attention) == 1 + max(int(layer) for layer, _ in stored)
    for layer, name in stored:
        found, wanted = trace.block(int(layer)).arrays[name], golden[f"{layer}.{name}"]
        if name == "visible":
            assert np.array_equal(found, wanted)
        else:
            assert found.dtype == np.float32
            assert row_error(found, wanted) <= TOLERANCE, f"layer {layer}: {name}"
    assert row_error(logits_of(model, trace.prompt.ids), golden["logits"]) <= TOLERANCE
    assert row_error(trace.logits, golden["logits"][-1:]) <= TOLERANCE


def traced(folder):
    return session.trace(ids=IDS, model=str(folder))


# --- the numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_every_array_of_every_layer_is_the_references(golden_copy, golden_path, name):
    check_against(reference(golden_path / name), session.load(str(golden_copy(name))))


@pytest.mark.parametrize("name", MODELS)
def test_goldens_and_what_follows_are_every_array_of_the_six_steps(golden_path, name):
    golden = reference(golden_path / name)
    layers = range(read_json(golden_path / name / "config.json")["num_hidden_layers"])
    others = {name for name in vocabulary.ARRAYS if "content" in name}  # of DeBERTa
    names = vocabulary.DEFAULT_ARRAYS - {"bias"} - others - {"sink", "sink_share"}
    assert len(others) == 3
    assert {f"{layer}.{name}" for layer in layers for name in names} <= set(golden)
    for layer in layers:
        assert np.array_equal(golden[f"{layer}.weights"].any(axis=0), golden[f"{layer}.visible"])


@pytest.mark.parametrize("name", MODELS)
def test_sizes_within_a_golden_model_differ_and_nothing_keeps_its_default(golden_path, name):
    config = read_json(golden_path / name / "config.json")
    heads, width = config["num_attention_heads"], config["hidden_size"]
    with np.load(golden_path / name / "activations.npz") as archive:
        tokens = len(archive["ids"])
    sizes = [
        config["num_hidden_layers"], heads, config["num_key_value_heads"],
        config.get("head_dim", width // heads), width, config["intermediate_size"],
        config["vocab_size"], config["max_position_embeddings"], tokens,
    ]  # fmt: skip
    assert len(set(sizes)) == len(sizes)
    stored = open_safetensors(golden_path / name / WEIGHTS)
    for tensor in stored:
        assert np.unique(stored[tensor].read()).size == stored[tensor].read().size


def test_a_window_of_four_sees_four_keys_itself_included(golden_copy):
    trace = session.trace(ids=list(range(11)), model=str(golden_copy("mistral-window")))
    for block in trace.attention:
        assert block.visible.sum(axis=1).tolist() == [1, 2, 3] + 8 * [4]
        assert block.visible[10].nonzero()[0].tolist() == [7, 8, 9, 10]


def test_qwens_first_layers_have_no_window(golden_copy):
    trace = session.trace(ids=list(range(9)), model=str(golden_copy("qwen2-window")))
    assert [int(block.visible.sum(axis=1).max()) for block in trace.attention] == [9, 5, 5]


@pytest.mark.parametrize(("layer", "head", "kv"), [(0, "3,0", (1, 0)), (2, "1,0", (0,))])
def test_chosen_heads_bring_their_own_keys_and_values(golden_copy, golden_path, layer, head, kv):
    golden = reference(golden_path / "llama-plain")
    trace = session.trace(
        ids=golden["ids"].tolist(), model=str(golden_copy("llama-plain")), layer=layer, head=head
    )
    (block,) = trace.attention
    assert (block.layer, block.kv_heads, block.scale) == (layer, kv, pytest.approx(6**-0.5))
    for name in ("q", "q_unrotated", "scores", "weights", "z", "head_output"):
        wanted = golden[f"{layer}.{name}"][list(block.heads)]
        assert row_error(block.arrays[name], wanted) <= TOLERANCE
    for name in ("k", "k_unrotated", "v"):
        assert row_error(block.arrays[name], golden[f"{layer}.{name}"][list(kv)]) <= TOLERANCE
    assert row_error(block.output, golden[f"{layer}.output"]) <= TOLERANCE


@pytest.mark.parametrize("name", ["llama-bias", "qwen2-window", "llama-plain"])
def test_parameters_are_the_stored_tensors_one_head_apart_from_the_next(golden_copy, name):
    folder = golden_copy(name)
    trace = session.trace(ids=[5, 36, 0], model=str(folder), arrays=vocabulary.PARAMETERS)
    stored = open_safetensors(folder / WEIGHTS)
    for layer, block in enumerate(trace.attention):
        prefix = f"model.layers.{layer}.self_attn."

        def tensor(letter, part, width, prefix=prefix):
            place = f"{prefix}{letter}_proj.{part}"
            return stored[place].read() if place in stored else np.zeros(width, np.float32)

        for letter in "qkv":
            w = block.arrays[f"w_{letter}"]
            b = block.arrays.get(f"b_{letter}", np.zeros(0, np.float32))
            assert np.array_equal(np.concatenate(list(w), axis=1).T, tensor(letter, "weight", 0))
            assert np.array_equal(b.ravel(), tensor(letter, "bias", b.size))
        w_o = np.concatenate(list(block.w_o), axis=0)
        assert np.array_equal(w_o.T, tensor("o", "weight", 0))
        assert np.array_equal(
            block.arrays.get("b_o", np.zeros(0, np.float32)),
            tensor("o", "bias", block.arrays.get("b_o", np.zeros(0, np.float32)).size),
        )


# --- one path, with less kept --------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_tracing_the_weights_alone_changes_no_number(golden_copy, name):
    model = session.load(str(golden_copy(name)))
    ids = [7, 0, 7, 36, 2, 11, 30]
    everything = session.trace(ids=ids, model=model)
    alone = session.trace(ids=ids, model=model, arrays=["weights"])
    assert row_error(alone.logits, everything.logits) <= 1e-6
    for block, whole in zip(alone.attention, everything.attention, strict=True):
        assert list(block.arrays) == ["weights"]
        assert row_error(block.weights, whole.weights) <= 1e-6


# --- the two spellings of a config, its defaults, the names of tensors ---------------------------


def older_spelling(config, kind):
    """What transformers 4.x wrote: `kind` is `rope_type`, or `type` as before 4.43."""
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    rope = {kind if key == "rope_type" else key: value for key, value in rope.items()}
    config["rope_scaling"] = None if rope == {kind: "default"} else rope
    config["torch_dtype"] = config.pop("dtype")
    config.pop("layer_types", None)
    return config


@pytest.mark.parametrize("kind", ["rope_type", "type"])
@pytest.mark.parametrize("name", MODELS)
def test_both_spellings_of_a_config_are_one_model(golden_copy, name, kind):
    folder = golden_copy(name)
    before = traced(folder)
    config = older_spelling(read_json(folder / "config.json"), kind)
    (folder / "config.json").write_text(json.dumps(config))
    assert same_bits(before, traced(folder))


def read(module, **more):
    return module.FAMILY.read_config(ConfigReader(smallest(**more), "c"))


def smallest(**more):
    return {
        "hidden_size": 12, "num_attention_heads": 3, "num_hidden_layers": 30, "vocab_size": 5,
        "intermediate_size": 7, "max_position_embeddings": 11, **more,
    }  # fmt: skip


def test_defaults_are_those_of_the_reference():
    """transformers' configs without arguments, for the keys that may be left out."""
    plain = read(llama)
    assert (plain.kv_heads, plain.head_width, plain.epsilon) == (3, 4, 1e-6)
    assert (plain.activation, plain.tied, plain.windows) == ("silu", False, (0,) * 30)
    assert not (plain.qkv_bias or plain.output_bias or plain.mlp_bias or plain.head_norm)
    assert plain.rope.frequencies == pytest.approx((1, 1e4**-0.5), rel=1e-6)
    kv, wide = {"num_key_value_heads": None}, {"num_attention_heads": 64, "hidden_size": 128}
    for family, own in ((mistral, 8), (qwen2, 32), (qwen3, 32)):
        assert read(family, **wide).kv_heads == own
        assert read(family, **kv).kv_heads == 3
    assert read(mistral, **kv).windows == (4096,) * 30
    assert read(mistral, **kv, sliding_window=None).windows == (0,) * 30
    second = read(qwen2, **kv, use_sliding_window=True)
    assert second.windows == (0,) * 28 + (4096,) * 2
    assert (second.qkv_bias, second.output_bias) == (True, False)
    assert read(qwen2, **kv, sliding_window=7).windows == (0,) * 30
    null = {"use_sliding_window": True, "sliding_window": None}
    assert read(qwen2, **kv, **null).windows == (0,) * 30
    for more, said in (
        (null | {"layer_types": ["sliding_attention"] * 30}, "sliding_window is null"),
        ({"layer_types": ["sliding_attention"] * 30}, "use_sliding_window is false"),
        (null | {"sliding_window": 0}, "sliding_window is 0, which hides every key"),
    ):
        with pytest.raises(ContentError, match=said):
            read(qwen2, **kv, **more)
    with pytest.raises(ContentError, match="sliding_window is 0, which hides every key"):
        read(mistral, **kv, sliding_window=0)
    third = read(qwen3, **kv)
    assert (third.head_width, third.head_norm, third.qkv_bias) == (128, True, False)


def test_layer_types_say_which_layers_have_the_window():
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    values = {"num_hidden_layers": 3, "use_sliding_window": True, "sliding_window": 6}
    values["num_key_value_heads"] = 3
    assert read(qwen3, **values, layer_types=kinds).windows == (6, 0, 6)
    with pytest.raises(ContentError, match="layer_types"):
        read(qwen3, **values, layer_types=kinds[:2])
    with pytest.raises(ContentError, match="chunked"):
        read(qwen3, **values, layer_types=["chunked_attention"] * 3)


# --- refusals ------------------------------------------------------------------------------------


def change_config(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps({**read_json(path), **values}))


SIBLINGS = ("llama-plain", "mistral-window", "qwen2-window", "qwen3-yarn")


def noted(trace):
    """The config keys that a note names."""
    return [note.values["keys"] for note in trace.notes if note.key == "note.keys"]


def test_a_key_that_is_refused_is_accepted_on_request(golden_copy):
    folder = golden_copy("llama-plain")
    before = traced(folder)
    change_config(folder, rope_interleaved=True)
    with pytest.raises(ContentError) as refused:
        session.load(str(folder))
    assert "rope_interleaved" in refused.value.message
    assert str(folder / "config.json") in refused.value.message
    assert "--ignore-config rope_interleaved" in refused.value.hint
    model = session.load(str(folder), ignore_config=["rope_interleaved"])
    assert same_bits(before, session.trace(ids=IDS, model=model))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("llama-plain", "attention_bias"), ("mistral-window", "sliding_window"),
        ("qwen2-window", "max_window_layers"), ("qwen3-yarn", "rms_norm_eps"),
    ],
)  # fmt: skip
def test_a_value_that_is_refused_is_the_default_on_request(golden_copy, name, key):
    folder = golden_copy(name)
    change_config(folder, **{key: "yes"})
    with pytest.raises(ContentError) as refused:
        session.load(str(folder))
    assert f"{key} is 'yes'" in refused.value.message
    assert str(folder / "config.json") in refused.value.message
    ignored = session.load(str(folder), ignore_config=[key]).config
    config = read_json(folder / "config.json")
    del config[key]
    (folder / "config.json").write_text(json.dumps(config))
    assert ignored == session.load(str(folder)).config


@pytest.mark.parametrize("name", SIBLINGS)
def test_a_key_that_the_reference_does_not_read_changes_nothing_and_is_named(golden_copy, name):
    folder = golden_copy(name)
    before = traced(folder)
    change_config(folder, xyzzy=0.5, plugh=None)
    after = traced(folder)
    assert same_bits(before, after)
    assert (noted(before), noted(after)) == ([], ["plugh, xyzzy"])
    model = session.load(str(folder), ignore_config=["xyzzy"])
    assert (model.ignored, model.unknown) == (("xyzzy",), ("plugh",))


@pytest.mark.parametrize("name", SIBLINGS)
def test_a_rotary_key_that_the_reference_does_not_read_is_named_too(golden_copy, name):
    folder = golden_copy(name)
    before = traced(folder)
    rope = read_json(folder / "config.json")["rope_parameters"]
    change_config(folder, rope_parameters={**rope, "xyzzy": [1, 2]})
    after = traced(folder)
    assert same_bits(before, after)
    assert (noted(before), noted(after)) == ([], ["rope_parameters.xyzzy"])
    change_config(folder, rope_parameters={**rope, "mrope_section": [1, 2]})
    with pytest.raises(ContentError, match=r"mrope_section is \[1, 2\]"):
        session.load(str(folder))
    model = session.load(str(folder), ignore_config=["mrope_section"])
    assert (model.ignored, model.unknown) == (("mrope_section",), ())


HUGE = 2**31 - 2
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
YARN = {"rope_type": "yarn", "factor": 4.0}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("num_attention_heads", v) for v in (0, -4, 5, 4.0, "4", True, None, 2**31, 10**400)],
        *[("num_key_value_heads", v) for v in (0, -2, 3, 8, 2.0)],
        *[("head_dim", v) for v in (5, -6, 6.0, "6", HUGE, 10**400)],
        *[("num_hidden_layers", v) for v in (0, -1, 1.5, 10_001, 2**31 - 1, None)],
        *[("hidden_size", v) for v in (0, -16, None, [16])],
        *[("rms_norm_eps", v) for v in (-1e-5, 0, "1e-5", True, 10**400)],
        *[("hidden_act", v) for v in ("swiglu", 3, ["silu"], {})],
        *[("attention_bias", v) for v in (1, "false")],
        *[("rope_parameters", v) for v in (7, [], "default", {"rope_type": "dynamic"})],
        *[("rope_parameters", {"rope_type": v}) for v in ("longrope", 5, ["yarn"], "linear")],
        *[("rope_parameters", {"rope_type": "linear", "factor": v}) for v in (0, -2, "2", True)],
        *[("rope_parameters", {"rope_theta": v}) for v in (0, -1e4, "1e4", 10**400, 1e-300)],
        *[
            ("rope_parameters", {k: v for k, v in LLAMA3.items() if k != gone})
            for gone in LLAMA3
            if gone != "rope_type"
        ],
        *[("rope_parameters", {**LLAMA3, "original_max_position_embeddings": v}) for v in (0, 2.5)],
        *[("rope_parameters", {**YARN, "beta_fast": v}) for v in (0, -1, 1e308, 5e-324)],
        *[("rope_parameters", {**YARN, "attention_factor": v}) for v in (0, -1, "1")],
        *[("rope_parameters", {**YARN, "mscale": v}) for v in ("1", True)],
        ("rope_parameters", {**YARN, "mscale": 1.0, "mscale_all_dim": -10 / np.log(4.0)}),
        ("rope_parameters", {**YARN, "rope_theta": 1}),
        ("rope_parameters", {**YARN, "truncate": 1}),
        ("rope_parameters", {**YARN, "factor": 0}),
        ("rope_scaling", 3),
        ("model_type", "llama4"),
    ],
)
def test_config_values_that_cannot_be_honoured_are_refused_by_key(golden_copy, key, value):
    folder = golden_copy("llama-plain")
    change_config(folder, **{key: value})
    with pytest.raises(ContentError) as refused:
        session.load(str(folder))
    assert str(folder / "config.json") in refused.value.message
    assert key.replace("_", " ") in refused.value.message.replace("_", " ")
    assert len(refused.value.message) < 400


def test_heads_that_share_no_width_are_refused_unless_it_is_given(golden_copy):
    folder = golden_copy("llama-bias")
    change_config(folder, head_dim=None, num_attention_heads=4)
    with pytest.raises(ContentError, match=r"hidden_size 18, num_attention_heads 4 .* divide"):
        session.load(str(folder))
    change_config(folder, hidden_size=21, num_attention_heads=3)
    with pytest.raises(ContentError, match="head_dim 7 is not an even number"):
        session.load(str(folder))


def test_a_width_too_large_to_make_frequencies_for_is_refused_at_once(golden_copy):
    folder = golden_copy("llama-bias")
    change_config(folder, head_dim=None, hidden_size=HUGE, num_attention_heads=1)
    with pytest.raises(ContentError, match=f"head_dim {HUGE}"):
        session.load(str(folder))

"""GPT-2 against the reference library: every array of every layer, and every refusal."""

import hashlib
import json

import numpy as np
import pytest

from attn_cli import session, vocabulary
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.errors import ContentError
from attn_cli.families import gpt2
from attn_cli.model.config import ConfigReader
from measure import logits_of, row_error

RANDOM_MODELS = ("gpt2-a", "gpt2-b", "gpt2-c")
TOLERANCE = 1e-5


def load_golden(path):
    with np.load(path) as archive:
        return dict(archive)


def check_against(golden, model, prompt):
    """Every array the archive holds, and the logits at every position."""
    trace = session.trace(**prompt, model=model)
    assert trace.prompt.ids == tuple(golden["ids"])
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


# --- the numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RANDOM_MODELS)
def test_every_array_of_every_layer_is_the_references(golden_copy, golden_path, name):
    golden = load_golden(golden_path / name / "activations.npz")
    check_against(golden, session.load(str(golden_copy(name))), {"ids": golden["ids"].tolist()})


@pytest.mark.parametrize("name", [*RANDOM_MODELS, "tiny"])
def test_goldens_hold_every_array_of_the_six_steps(golden_path, name):
    archive = golden_path / name / "activations.npz" if name != "tiny" else golden_path / "tiny.npz"
    golden = load_golden(archive)
    layers = {key.split(".")[0] for key in golden if "." in key}
    others = {name for name in vocabulary.ARRAYS if "content" in name}  # of DeBERTa
    names = (
        vocabulary.DEFAULT_ARRAYS
        - {"bias", "q_unrotated", "k_unrotated"}
        - others
        - {"sink", "sink_share"}
    )
    assert len(others) == 3
    assert {f"{layer}.{name}" for layer in layers for name in names} <= set(golden)


def test_embedded_checkpoint_is_the_references(tiny_folder, golden_path):
    golden = load_golden(golden_path / "tiny.npz")
    digest = hashlib.sha256((tiny_folder / "model.safetensors").read_bytes()).hexdigest()
    assert str(golden["sha256"]) == digest, "data/tiny was replaced: rerun golden/make_gpt2.py"
    check_against(golden, session.load("tiny"), {"text": vocabulary.SAMPLE_PROMPT})


def test_the_measure_of_these_tests_rejects_what_it_must():
    wanted = np.array([[100.0, -np.inf], [0.0, 0.5]])
    assert row_error(wanted, wanted) == 0
    assert row_error(np.array([[102.0, -np.inf], [0.0, 0.5]]), wanted) == 0.02
    assert row_error(np.array([[100.0, -np.inf], [0.0, 0.75]]), wanted) == 0.25
    with pytest.raises(AssertionError):
        row_error(np.zeros((2, 2)), wanted)
    with pytest.raises(AssertionError):
        row_error(np.full((2, 2), np.nan), np.zeros((2, 2)))


@pytest.mark.parametrize("layer", [0, 1, 3])
def test_heads_and_layers_chosen_are_slices_of_the_whole(golden_copy, golden_path, layer):
    golden = load_golden(golden_path / "gpt2-b" / "activations.npz")
    trace = session.trace(
        ids=golden["ids"].tolist(), model=str(golden_copy("gpt2-b")), layer=layer, head="4,1"
    )
    (block,) = trace.attention
    assert (block.layer, block.heads, block.kv_heads) == (layer, (4, 1), (4, 1))
    assert block.scale == pytest.approx(2**-0.5 / (layer + 1), rel=1e-12)
    for name in ("q", "k", "weights", "head_output"):
        assert row_error(block.arrays[name], golden[f"{layer}.{name}"][[4, 1]]) <= TOLERANCE
    # The output is the sum over all heads, whichever are shown.
    assert row_error(block.output, golden[f"{layer}.output"]) <= TOLERANCE


def test_parameters_are_the_stored_tensors_one_head_apart_from_the_next(golden_copy):
    folder = golden_copy("gpt2-a")
    parts = ("token_embedding", "position_embedding")
    names = (*vocabulary.PARAMETERS, *parts, "x")
    ids = [5, 60, 0, 5]
    trace = session.trace(ids=ids, model=str(folder), arrays=names)
    stored = open_safetensors(folder / "model.safetensors")
    wte, wpe = (stored[f"transformer.{name}.weight"].read() for name in ("wte", "wpe"))
    assert np.array_equal(trace.block(0).token_embedding, wte[ids])
    assert np.array_equal(trace.block(0).position_embedding, wpe[:4])
    assert np.array_equal(trace.block(0).x, wte[ids] + wpe[:4])
    assert "token_embedding" not in trace.block(1).arrays
    for layer, block in enumerate(trace.attention):
        attn = f"transformer.h.{layer}.attn."
        w, b = stored[attn + "c_attn.weight"].read(), stored[attn + "c_attn.bias"].read()
        for part, letter in enumerate("qkv"):
            for head in range(3):
                columns = slice(21 * part + 7 * head, 21 * part + 7 * head + 7)
                assert np.array_equal(block.arrays[f"w_{letter}"][head], w[:, columns])
                assert np.array_equal(block.arrays[f"b_{letter}"][head], b[columns])
        w_o = stored[attn + "c_proj.weight"].read()
        assert all(np.array_equal(block.w_o[h], w_o[7 * h : 7 * h + 7]) for h in range(3))
        assert np.array_equal(block.b_o, stored[attn + "c_proj.bias"].read())


# --- refusals ------------------------------------------------------------------------------------


def change_config(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_key_that_is_refused_is_accepted_on_request(golden_copy):
    folder = golden_copy("gpt2-a")
    before = session.trace(ids=[1, 2, 3], model=str(folder)).logits
    change_config(folder, add_cross_attention=True)
    with pytest.raises(ContentError) as refused:
        session.load(str(folder))
    assert "add_cross_attention" in refused.value.message
    assert str(folder / "config.json") in refused.value.message
    assert "--ignore-config add_cross_attention" in refused.value.hint
    model = session.load(str(folder), ignore_config=["add_cross_attention"])
    assert np.array_equal(session.trace(ids=[1, 2, 3], model=model).logits, before)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("n_head", value) for value in (0, -3, 4, 3.0, "3", True, None, 2**31, 10**400)],
        *[("n_layer", value) for value in (0, -1, 1.5, 2**31 - 1)],
        *[("n_embd", value) for value in (0, None, [21])],
        *[("n_inner", value) for value in (0, -31, "31")],
        *[("layer_norm_epsilon", value) for value in (-1e-5, 0, "1e-5", True, 10**400)],
        *[("activation_function", value) for value in ("swiglu", 3, ["gelu"], {})],
        *[("scale_attn_weights", value) for value in (1, "false")],
        ("add_cross_attention", True),
        ("model_type", "gpt3"),
        ("model_type", ["gpt2"]),
    ],
)
def test_config_values_that_cannot_be_honoured_are_refused_by_key(golden_copy, key, value):
    folder = golden_copy("gpt2-a")
    change_config(folder, **{key: value})
    with pytest.raises(ContentError) as refused:
        session.load(str(folder))
    assert str(folder / "config.json") in refused.value.message
    assert key.replace("_", " ") in refused.value.message.replace("_", " ")
    assert len(refused.value.message) < 300


def test_defaults_are_those_of_the_reference():
    """transformers' GPT2Config without arguments, for the keys that may be left out."""
    needed = {"n_embd": 12, "n_layer": 1, "n_head": 3, "vocab_size": 5, "n_positions": 7}
    config = gpt2.FAMILY.read_config(ConfigReader(needed, "config.json"))
    assert (config.inner_width, config.epsilon, config.activation) == (48, 1e-5, "gelu_new")
    assert (config.scale_by_width, config.scale_by_layer, config.tied) == (True, False, True)

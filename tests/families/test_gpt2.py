"""GPT-2 against the reference library: every array of every layer, and every refusal."""

import hashlib
import json

import numpy as np
import pytest

from attn_cli import session, vocabulary
from attn_cli.checkpoints.safetensors import open_safetensors
from attn_cli.checkpoints.tensor import Tensor
from attn_cli.errors import ContentError
from attn_cli.families import gpt2
from attn_cli.model.config import ConfigReader
from measure import row_error

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
    assert row_error(session.logits(model, trace.prompt.ids), golden["logits"]) <= TOLERANCE
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
    names = vocabulary.DEFAULT_ARRAYS - {"bias", "q_unrotated", "k_unrotated"} - others
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
    names = (*vocabulary.PARAMETERS, *vocabulary.EMBEDDING_PARTS, "x")
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


# --- other dtypes and names ----------------------------------------------------------------------


def bf16_bytes(array):
    return (array.view(np.uint32) >> 16).astype("<u2").tobytes()


def f16_bytes(array):
    return array.astype("<f2").tobytes()


def widen_bf16(data, shape):
    return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)


def widen_f16(data, shape):
    return np.frombuffer(data, "<f2").astype(np.float32).reshape(shape)


@pytest.mark.parametrize(
    ("dtype", "narrow", "widen"), [("F16", f16_bytes, widen_f16), ("BF16", bf16_bytes, widen_bf16)]
)
def test_half_precision_gives_exactly_what_its_widened_values_give(
    golden_copy, packed, dtype, narrow, widen
):
    folder = golden_copy("gpt2-a")
    stored = open_safetensors(folder / "model.safetensors")
    data = {name: narrow(np.array(stored[name].read())) for name in stored}
    shapes = {name: stored[name].shape for name in data}
    traces = []
    for entries in (
        {name: (dtype, shapes[name], data[name]) for name in data},
        {name: ("F32", shapes[name], widen(data[name], shapes[name]).tobytes()) for name in data},
    ):
        (folder / "model.safetensors").write_bytes(packed(entries))
        traces.append(session.trace(ids=[3, 1, 4, 1, 5], model=str(folder)))
    half, full = traces
    for a, b in zip(half.attention, full.attention, strict=True):
        assert list(a.arrays) == list(b.arrays)
        assert all(np.array_equal(a.arrays[name], b.arrays[name]) for name in a.arrays)
    assert np.array_equal(half.logits, full.logits)
    assert half.logits.dtype == np.float32


def rewrite(folder, packed, change):
    """The folder's tensors after `change` of {name: (dtype, shape, bytes)}."""
    stored = open_safetensors(folder / "model.safetensors")
    entries = {name: ("F32", info.shape, info.read().tobytes()) for name, info in stored.items()}
    (folder / "model.safetensors").write_bytes(packed(change(entries)))


@pytest.mark.parametrize("name", ["gpt2-a", "gpt2-c"])
def test_the_prefix_is_optional(golden_copy, golden_path, packed, name):
    """gpt2-a is stored with `transformer.` and loses it, gpt2-c is stored without and gains it."""
    folder = golden_copy(name)

    def swap(entries):
        return {
            key.removeprefix("transformer.") if name == "gpt2-a" else f"transformer.{key}": entry
            for key, entry in entries.items()
        }

    before = set(open_safetensors(folder / "model.safetensors"))
    rewrite(folder, packed, swap)
    assert before.isdisjoint(open_safetensors(folder / "model.safetensors"))
    golden = load_golden(golden_path / name / "activations.npz")
    check_against(golden, session.load(str(folder)), {"ids": golden["ids"].tolist()})


def test_stored_masks_and_a_copy_of_the_tied_output_are_passed_over(golden_copy, packed):
    folder = golden_copy("gpt2-a")
    before = session.trace(ids=[1, 2, 3], model=str(folder)).logits
    mask = {"transformer.h.0.attn.bias": ("U8", (1, 1, 2, 2), b"\1\0\1\1")}
    tied = {"lm_head.weight": ("F32", (61, 21), np.ones((61, 21), "<f4").tobytes())}
    masked = {"transformer.h.1.attn.masked_bias": ("F32", (), np.float32(-1e4).tobytes())}
    rewrite(folder, packed, lambda entries: {**mask, **entries, **tied, **masked})
    assert np.array_equal(session.trace(ids=[1, 2, 3], model=str(folder)).logits, before)


# --- refusals ------------------------------------------------------------------------------------


def missing(entries):
    return {n: e for n, e in entries.items() if n != "transformer.h.1.ln_2.bias"}


def two_missing(entries):
    return {n: e for n, e in missing(entries).items() if n != "transformer.ln_f.bias"}


def extra(entries):
    return {**entries, "transformer.h.0.attn.q_norm.weight": ("F32", (1,), bytes(4))}


def extra_layer(entries):
    return {**entries, "transformer.h.2.ln_1.weight": ("F32", (21,), bytes(84))}


def transposed(entries):
    dtype, shape, data = entries["transformer.h.0.mlp.c_fc.weight"]
    return {**entries, "transformer.h.0.mlp.c_fc.weight": (dtype, shape[::-1], data)}


def scalar(entries):
    return {**entries, "transformer.ln_f.weight": ("F32", (), bytes(4))}


def both_names(entries):
    return {**entries, "wpe.weight": entries["transformer.wpe.weight"]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (missing, ("h.1.ln_2.bias", "missing")),
        (two_missing, ("h.1.ln_2.bias and 1 more", "missing")),
        (extra, ("h.0.attn.q_norm.weight", "no place")),
        (extra_layer, ("h.2.ln_1.weight", "no place")),
        (transposed, ("h.0.mlp.c_fc.weight", "31 × 21", "21 × 31")),
        (scalar, ("ln_f.weight", "a single number", "asks for 21")),
        (both_names, ("wpe.weight", "twice")),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(golden_copy, packed, change, said):
    folder = golden_copy("gpt2-a")
    rewrite(folder, packed, change)
    with pytest.raises(ContentError) as refused:
        session.load(str(folder))
    assert all(part in refused.value.message for part in (str(folder), *said))


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


def test_keys_that_the_reference_does_not_read_change_nothing_and_one_note_names_them(golden_copy):
    folder = golden_copy("gpt2-a")
    before = session.trace(ids=[1, 2, 3], model=str(folder))
    change_config(folder, rope_theta=1e4, alibi=True, qk_norm=None)
    after = session.trace(ids=[1, 2, 3], model=str(folder))
    assert np.array_equal(after.logits, before.logits)
    (said,) = [note for note in after.notes if note.key == "note.keys"]
    assert said.values == {"keys": "alibi, qk_norm, rope_theta"}
    assert not [note for note in before.notes if note.key == "note.keys"]


def test_ignoring_one_key_does_not_ignore_another(golden_copy):
    folder = golden_copy("gpt2-a")
    change_config(folder, rope_theta=1e4, alibi=True, qk_norm=True, add_cross_attention=True)
    with pytest.raises(ContentError, match="add_cross_attention"):
        session.load(str(folder), ignore_config=["rope_theta"])
    change_config(folder, add_cross_attention=False)
    model = session.load(str(folder), ignore_config=["rope_theta"])
    assert (model.ignored, model.unknown) == (("rope_theta",), ("alibi", "qk_norm"))


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


@pytest.mark.parametrize("text", ['{"n_embd": NaN}', '{"n_embd": Infinity}', "{", "[]", "7", ""])
def test_a_config_that_is_no_strict_json_object_is_refused(golden_copy, text):
    folder = golden_copy("gpt2-a")
    (folder / "config.json").write_text(text)
    with pytest.raises(ContentError, match=r"config\.json is not"):
        session.load(str(folder))


def test_an_epsilon_beyond_float_is_refused(golden_copy):
    folder = golden_copy("gpt2-a")
    text = (folder / "config.json").read_text().replace("0.0003", "1e999")
    (folder / "config.json").write_text(text)
    with pytest.raises(ContentError, match="layer_norm_epsilon is inf"):
        session.load(str(folder))


def test_defaults_are_those_of_the_reference():
    """transformers' GPT2Config without arguments, for the keys that may be left out."""
    needed = {"n_embd": 12, "n_layer": 1, "n_head": 3, "vocab_size": 5, "n_positions": 7}
    config = gpt2.FAMILY.read_config(ConfigReader(needed, "config.json"))
    assert (config.inner_width, config.epsilon, config.activation) == (48, 1e-5, "gelu_new")
    assert (config.scale_by_width, config.scale_by_layer, config.tied) == (True, False, True)


# --- what is read from the disk ------------------------------------------------------------------


def test_opening_reads_no_tensor_at_all(golden_copy, monkeypatch):
    asked = []
    monkeypatch.setattr(Tensor, "read", lambda self: asked.append(self.where))
    monkeypatch.setattr(Tensor, "rows", lambda self, indices: asked.append(self.where))
    assert session.load(str(golden_copy("gpt2-a"))).facts.layers == 2
    assert asked == []


def test_one_layer_without_prediction_touches_no_other_layer(golden_copy, spied):
    model, spy = spied(golden_copy("gpt2-a"))
    session.trace(ids=[7, 7, 2], model=model, layer=0, next=False)
    assert {name.split("h.")[1][0] for name in spy.whole} == {"0"}
    assert spy.by_row == [
        ("transformer.wte.weight", [7, 7, 2]),
        ("transformer.wpe.weight", [0, 1, 2]),
    ]


def test_a_prediction_reads_every_layer_and_the_output_matrix_once(golden_copy, spied):
    model, spy = spied(golden_copy("gpt2-b"))
    session.trace(ids=[7, 7, 2], model=model, layer=0)
    assert {name.split("h.")[1][0] for name in spy.whole if "h." in name} == set("0123")
    assert spy.whole.count("lm_head.weight") == 1
    assert "transformer.wte.weight" not in spy.whole

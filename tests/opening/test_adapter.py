"""LoRA adapters, with PEFT as the oracle: `golden/make_adapters.py`."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from golden.made_weights import made
from made_folders import made_folder

from attn_cli import session
from attn_cli.checkpoints.lora import LowRank, added
from attn_cli.checkpoints.safetensors import encode, open_safetensors
from attn_cli.checkpoints.tensor import Tensor
from attn_cli.errors import ContentError
from attn_cli.maths import cores
from attn_cli.model.family import in_memory
from measure import logits_of, row_error, same_bits

GOLDEN = Path(__file__).parent.parent / "golden"
NAMES = sorted(path.name for path in (GOLDEN / "adapters").iterdir())
IDS = (3, 1, 4, 1, 5)
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def base_of(name):
    path = GOLDEN / "adapters" / name
    return GOLDEN / json.loads((path / CONFIG).read_text())["base_model_name_or_path"], path


def opened(base, adapter):
    return session.load(str(base), adapter=str(adapter))


@pytest.fixture
def changed(tmp_path):
    """A copy of an adapter with other values in its config, and with its tensors changed."""

    def make(name, tensors=None, **values):
        base, path = base_of(name)
        config = json.loads((path / CONFIG).read_text()) | values
        (tmp_path / CONFIG).write_text(json.dumps(config))
        arrays = {n: np.array(t.read()) for n, t in open_safetensors(path / WEIGHTS).items()}
        arrays = tensors(arrays) if tensors else arrays
        (tmp_path / WEIGHTS).write_bytes(encode(arrays, {}))
        return base, tmp_path

    return make


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_and_the_logits_are_pefts(name):
    model, wanted = opened(*base_of(name)), np.load(GOLDEN / "adapters" / name / "wanted.npz")
    trace = session.trace(model=model, ids=IDS)
    for block, hidden in zip(trace.attention, wanted["hidden"], strict=True):
        assert row_error(block.x, hidden) < 2e-5
    assert row_error(trace.logits, wanted["logits"][-1:]) < 2e-5
    without = session.trace(model=str(base_of(name)[0]), ids=IDS)
    assert row_error(without.logits, wanted["logits"][-1:]) > 0.1
    assert trace.settings["adapter"] == str(GOLDEN / "adapters" / name)
    assert trace.model.name == f"{base_of(name)[0].name} + {name}"


@pytest.mark.parametrize("name", NAMES)
def test_no_digit_depends_on_threads_or_on_what_is_kept(name):
    model = opened(*base_of(name))
    one = session.trace(model=model, ids=IDS)
    cores.use(3)
    try:
        assert same_bits(one, session.trace(model=model, ids=IDS))
    finally:
        cores.use(0)
    assert same_bits(one, session.trace(model=in_memory(model), ids=IDS))


def test_matrices_that_it_leaves_alone_are_those_of_the_file():
    base, path = base_of("plain")
    model, plain = opened(base, path), session.load(str(base))
    kinds = {name: model.weights.tensor(name).dtype for name in model.weights.stored}
    assert {name.split(".")[-2] for name, kind in kinds.items() if kind == "F32+LoRA"} == {
        "q_proj", "down_proj",
    }  # fmt: skip
    assert kinds.keys() == plain.weights.stored.keys()
    assert model.weights.size > plain.weights.size
    place = "layers.1.self_attn.q_proj.weight"
    assert not np.array_equal(model.weights[place], plain.weights[place])
    other = "layers.1.self_attn.k_proj.weight"
    assert not model.weights[other].flags.owndata  # a view of the file
    assert np.array_equal(model.weights.rows(place, [5, 2]), model.weights[place][[5, 2]])


def test_what_is_read_of_it_is_kept_until_it_is_released():
    reads = []

    def tensor(name, *shape):
        def stored():
            reads.append(name)
            return np.ones(shape, np.float32)

        return Tensor("F32", shape, 4 * math.prod(shape), name, stored)

    change = LowRank(tensor("B", 5, 2), tensor("A", 2, 3), 0.5)
    matrix = added(tensor("W", 5, 3), change)
    for some in ([1], [2, 0], slice(1, 4)):
        assert (matrix.rows(some) == 2).all()
    assert sorted(reads) == ["A", "B", "W", "W", "W"]
    matrix.release()
    matrix.rows([3])
    assert sorted(reads) == ["A", "A", "B", "B", "W", "W", "W", "W"]
    assert matrix.size == 4 * (15 + 10 + 6)


def test_the_weights_may_be_a_pickle(changed):
    base, path = changed("plain")
    (path / WEIGHTS).unlink()
    shutil.copy(GOLDEN / "adapters-torch.bin", path / "adapter_model.bin")
    assert same_bits(
        session.trace(model=opened(base, path), ids=IDS),
        session.trace(model=opened(*base_of("plain")), ids=IDS),
    )


def refused(base, adapter):
    with pytest.raises(ContentError) as problem:
        opened(base, adapter)
    message, hint = problem.value.message, problem.value.hint
    assert "\n" not in message + hint and len(message) < 400
    return f"{message} | {hint}"


@pytest.mark.parametrize(("values", "said"), [
    ({"peft_type": "IA3"}, "peft_type is 'IA3' | attn knows LORA"),
    ({"r": 4}, "lora_A of the adapter is 3 × 13, the config and the model ask for 4"),
    ({"r": 0}, "r is 0, not a whole number from 1"),
    ({"lora_alpha": float("inf")}, "lora_alpha is Infinity"),
    ({"lora_alpha": "8"}, "lora_alpha is '8', not a number above 0"),
    ({"rank_pattern": {"q_proj": "x"}}, "q_proj has no number above 0"),
    ({"target_modules": ["q_proj"]}, "the config does not name model.layers.0.mlp.down_proj"),
    ({"layers_to_transform": [0]}, "the config does not name model.layers.1.mlp.down_proj"),
    ({"exclude_modules": ["q_proj"]}, "does not name model.layers.0.self_attn.q_proj"),
    ({"target_modules": "("}, "the config does not name"),
    ({"use_dora": True}, "lora_A, lora_B, not lora_A, lora_B, lora_magnitude_vector"),
    ({"lora_bias": True}, "lora_bias is true, which attn does not know"),
    ({"init_lora_weights": "pissa"}, 'init_lora_weights is "pissa"'),
    ({"layer_replication": [[0, 2]]}, "layer_replication is [[0, 2]]"),
    ({"trainable_token_indices": [1]}, "trainable_token_indices is [1]"),
    ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens is [1]"),
])  # fmt: skip
def test_what_is_not_computed_is_refused_by_name(changed, values, said):
    assert said in refused(*changed("plain", **values))


def of_first(arrays, change):
    name = next(iter(arrays))
    return {n: change(a) if n == name else a for n, a in arrays.items()}


@pytest.mark.parametrize(("tensors", "said"), [
    (lambda a: {}, "the adapter is empty"),
    (lambda a: dict(list(a.items())[1:]), "has lora_B, not lora_A, lora_B"),
    (lambda a: of_first(a, lambda x: x[:, 1:]), "lora_A of the adapter is 3 × 12, the config"),
    (lambda a: a | {"base_model.model.x.lora_A.weight": np.zeros((3, 4), np.float32)},
     "the config does not name x"),
    (lambda a: a | {"base_model.model.model.norm.weight": np.zeros(4, np.float32)},
     "model.norm.weight of the adapter is 4, the config and the model ask for 16"),
    (lambda a: a | {"y": np.zeros(4, np.float32)}, "the adapter changes y, which llama-plain does"),
    (lambda a: a | {"base_model.model.lm_head.weight": np.zeros((41, 16), np.float32)},
     "the adapter changes lm_head.weight alone, and in llama-plain the embedding is the output"),
])  # fmt: skip
def test_tensors_that_do_not_fit_are_refused_by_name(changed, tensors, said):
    assert said in refused(*changed("plain", tensors))


@pytest.mark.parametrize(("name", "stored", "module"), [
    ("llava-a", "language_model.model", "model.language_model"),
    ("idefics3-a", "model.text_model", "model.text_model"),
    ("qwen2-vl-a", "model", "model.language_model"),
    ("qwen3-vl-a", "model.language_model", "model.language_model"),
])  # fmt: skip
def test_the_text_of_a_picture_model_is_named_as_in_the_library_that_runs_it(
    tmp_path, name, stored, module
):
    """As merged beforehand; `stored` is what a checkpoint has where the library has `module`."""
    document = json.loads((GOLDEN / "types" / f"{name}.json").read_text())
    tensors, part = made(document["tensors"], document["seed"]), "layers.1.self_attn.q_proj"
    whole = tensors[f"{stored}.{part}.weight"]
    shapes = {"lora_A": (2, whole.shape[1]), "lora_B": (len(whole), 2)}
    left = made({f"{part}.{letter}": shape for letter, shape in shapes.items()}, 5)
    a, b = (left[f"{part}.{letter}"] for letter in shapes)
    values = {"peft_type": "LORA", "r": 2, "lora_alpha": 3, "target_modules": ["q_proj"]}
    changes = {
        f"base_model.model.{module}.{part}.lora_{x}.weight": y for x, y in (("A", a), ("B", b))
    }
    merged = tensors | {f"{stored}.{part}.weight": whole + 1.5 * b @ a}
    for place, arrays in (("base", tensors), ("merged", merged)):
        (tmp_path / place).mkdir()
        (tmp_path / place / "config.json").write_text(json.dumps(document["config"]))
        (tmp_path / place / "model.safetensors").write_bytes(encode(arrays, {}))
    (tmp_path / CONFIG).write_text(json.dumps(values))
    (tmp_path / WEIGHTS).write_bytes(encode(changes, {}))
    ids = tuple(document["ids"])
    wanted = logits_of(session.load(str(tmp_path / "merged")), ids)
    assert row_error(logits_of(opened(tmp_path / "base", tmp_path), ids), wanted) < 2e-5
    assert row_error(logits_of(session.load(str(tmp_path / "base")), ids), wanted) > 0.01


@pytest.mark.parametrize("sees", ["model.vision_tower.encoder.layers.0.self_attn", "model.visual"])
def test_what_an_adapter_changes_of_what_sees_pictures_is_left_out_with_it(tmp_path, sees):
    """As where `q_proj` is a target, which both parts of a picture model have."""
    base, alone, both, blind = (tmp_path / name for name in ("base", "alone", "both", "blind"))
    made_folder(base, "llava-a")
    draw, width = np.random.default_rng(2), session.load(str(base)).facts.model_width
    rows = session.load(str(base)).weights["layers.1.self_attn.q_proj.weight"].shape[0]
    text = "model.language_model.layers.1.self_attn"
    changes = {
        f"base_model.model.{module}.q_proj.lora_{letter}.weight": draw.normal(size=shape)
        for module in (text, sees)
        for letter, shape in {"A": (2, width), "B": (rows, 2)}.items()
    } | {"base_model.model.model.multi_modal_projector.linear_1.bias": np.ones(3)}
    changes = {name: array.astype(np.float32) for name, array in changes.items()}
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["q_proj"]}
    of_text = {name: array for name, array in changes.items() if text in name}
    of_pictures = {name: array for name, array in changes.items() if text not in name}
    for place, arrays in ((alone, of_text), (both, changes), (blind, of_pictures)):
        place.mkdir()
        (place / CONFIG).write_text(json.dumps(config))
        (place / WEIGHTS).write_bytes(encode(arrays, {}))
    plain, some, every = session.load(str(base)), opened(base, alone), opened(base, both)
    assert np.array_equal(logits_of(every, IDS), logits_of(some, IDS))
    assert row_error(logits_of(every, IDS), logits_of(plain, IDS)) > 1e-3
    assert some.unread == plain.unread
    numbers = sum(array.size for array in of_pictures.values())
    assert every.unread == (plain.unread[0] + 3, plain.unread[1] + numbers)
    assert "changes only what sees pictures" in refused(base, blind)


def test_an_adapter_for_a_picture_model_is_none_for_a_text_model(changed):
    def renamed(arrays):
        return {n.replace("model.layers", "model.language_model.layers"): arrays[n] for n in arrays}

    assert "does not have" in refused(*changed("plain", renamed))


def test_an_adapter_for_another_model_says_for_which():
    _, path = base_of("inputs-first")
    said = refused(GOLDEN / "llama-plain", path)
    assert "transformer.h.0.attn.c_attn, which llama-plain does not have" in said
    assert said.endswith("give the model that it was made for: gpt2-a")


def test_what_is_no_adapter_is_refused(tmp_path):
    base = GOLDEN / "llama-plain"
    assert "no adapter" in refused(base, tmp_path / "missing")
    assert f"it has no {CONFIG}" in refused(base, base)
    (tmp_path / CONFIG).write_text("{}")
    assert f"it has no {WEIGHTS}" in refused(base, tmp_path)
    (tmp_path / WEIGHTS).write_text("{}")
    assert "is too short for a safetensors file" in refused(base, tmp_path)
    shutil.copy(GOLDEN / "adapters" / "plain" / WEIGHTS, tmp_path)
    (tmp_path / CONFIG).write_text("[]")
    assert f"{CONFIG} is not a JSON object" in refused(base, tmp_path)

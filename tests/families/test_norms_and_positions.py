"""Where norms and positions stand: what why, the split of a score and what-ifs make of it."""

import importlib
import math

import numpy as np
import pytest
from golden.made_weights import made
from made_folders import document, made_folder

from attn_cli import session
from attn_cli.analysis.components import components_steps
from attn_cli.analysis.entry import entry, wanted
from attn_cli.analysis.parts import parts
from attn_cli.errors import ContentError
from attn_cli.families import FAMILIES
from attn_cli.model.config import ConfigReader
from attn_cli.records import Address

KINDS = (
    "olmo", "olmo2", "olmo3", "smollm3", "cohere", "cohere2", "exaone4", "glm", "glm4",
    "hunyuan_v1_dense",
)  # fmt: skip
NAMES = [f"{kind}-{letter}" for kind in KINDS for letter in "ab"]
IDS = (3, 1, 4, 1, 5)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Opens a golden model, once."""
    there = {}

    def make(name):
        if name not in there:
            there[name] = session.load(str(made_folder(tmp_path_factory.mktemp(name), name)))
        return there[name]

    return make


def read(config):
    family = importlib.import_module(f"attn_cli.families.{FAMILIES[config['model_type']]}").FAMILY
    reader = ConfigReader(config, "config.json")
    return family.read_config(reader), reader.unknown


# --- why -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_parts_of_every_score_add_up_to_it(opened, name):
    model = opened(name)
    prompt, facts = session.tokenise(model, ids=IDS), model.facts
    for layer in (0, facts.layers - 1):
        where = Address("decoder", "self", layer)
        steps = components_steps(model, prompt, where, facts.heads - 1, len(IDS) - 1)
        assert session.finished(steps).error < 2e-6


def stored(name, tensor):
    found = document(name)
    return made({tensor: found["tensors"][tensor]}, found["seed"])[tensor].astype(np.float64)


def test_a_layer_norm_of_queries_acts_on_each_part_of_them(opened):
    """Each part of a query by Cohere's formulas, its mean subtracted, times the key as it is."""
    model, head, query, layer = opened("cohere-a"), 4, 4, "model.layers.1."
    prompt = session.tokenise(model, ids=IDS)
    split = parts(model, prompt, [query], 1)
    x = split.x[0].astype(np.float64)
    gain = stored("cohere-a", f"{layer}input_layernorm.weight") / np.sqrt(x.var() + 1e-5)
    w = stored("cohere-a", f"{layer}self_attn.q_proj.weight").reshape(6, 4, 24)[head]
    values = split.values[:, 0]
    normed = (values - values.mean(axis=1, keepdims=True)) * gain @ w.T
    whole = normed.sum(axis=0)
    own = stored("cohere-a", f"{layer}self_attn.q_norm.weight")[head]
    q = (normed - normed.mean(axis=1, keepdims=True)) * own / np.sqrt(whole.var() + 1e-5)
    angles = query * 59.0 ** (-np.arange(2) / 2)
    cos, sin, (a, b) = np.cos(angles), np.sin(angles), (q[:, ::2], q[:, 1::2])
    turned = np.stack([a * cos - b * sin, a * sin + b * cos], axis=-1).reshape(q.shape)
    trace = session.trace(ids=IDS, model=model, layer=1, head=head, next=False)
    k, key = trace.attention[0].k[0].astype(np.float64), 1
    above = k[key] - np.delete(k, key, axis=0).mean(axis=0)
    wanted = dict(zip((writer.label for writer in split.writers), turned @ above / 2, strict=True))
    steps = components_steps(model, prompt, Address("decoder", "self", 1), head, query, key)
    found = {one.writer: one.value for one in session.finished(steps).by_query}
    assert found == pytest.approx(wanted, rel=1e-4, abs=1e-5)


def redone(found):
    """An entry from what is told of it, with the formulas of the papers."""
    value = found.dot.value + (0 if math.isnan(found.bias) else found.bias)
    if not math.isnan(found.clip):
        value = min(max(value, -found.clip), found.clip)
    norms = [lambda x, n=n: (x - (0 if math.isnan(n.mean) else n.mean)) / n.root * n.weight
             for n in found.norm]  # fmt: skip
    late = any(norm.of == "rotated" for norm in found.norm)
    for norm in () if late else norms:
        value = norm(value)
    for turn in found.rotation:
        cos, sin = math.cos(turn.angle), math.sin(turn.angle)
        first = found.column == turn.first
        assert value == pytest.approx(turn.a if first else turn.b, rel=1e-4, abs=1e-5)
        value = turn.a * cos - turn.b * sin if first else turn.a * sin + turn.b * cos
        value *= turn.factor
    for norm in norms if late else ():
        value = norm(value)
    return value


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_of_a_projection_can_be_redone(opened, name):
    model = opened(name)
    facts = model.facts
    layer, head, column = facts.layers - 1, facts.heads - 1, 1
    for array in "qkv":
        need = wanted(facts, array, head, 4, False)
        trace = session.trace(
            ids=IDS, model=model, layer=layer, head=need["head"], arrays=need["arrays"], next=False
        )
        found = entry(trace, layer, head, array, 4, column)
        assert redone(found) == pytest.approx(found.value, rel=1e-4, abs=1e-5)
        normed = bool(facts.head_norm) and array != "v"
        assert [norm.of for norm in found.norm] == [facts.head_norm] * normed


def test_the_weight_of_a_norm_over_all_heads_is_that_of_the_file(opened):
    model, weights = opened("olmo2-a"), stored("olmo2-a", "model.layers.1.self_attn.q_norm.weight")
    trace = session.trace(ids=IDS, model=model, layer=1, head="all", next=False,
                          arrays=wanted(model.facts, "q", 5, 4, False)["arrays"])  # fmt: skip
    found = entry(trace, 1, 5, "q", 4, 2)
    assert found.norm[0].weight == pytest.approx(weights[5 * 4 + 2], rel=1e-5)


# --- without positions ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "full"),
    [("smollm3-a", {3}), ("smollm3-b", {0}), ("cohere2-a", {3}), ("cohere2-b", {0}),
     ("exaone4-a", {3}), ("exaone4-b", set()), ("olmo3-a", set())],
)  # fmt: skip
def test_only_layers_that_rotate_change_without_positions(opened, name, full):
    model = opened(name)
    plain = session.trace(ids=IDS, model=model, next=False)
    bare = session.trace(ids=IDS, model=model, without=["positions"], next=False)
    touched = False
    for before, after in zip(plain.attention, bare.attention, strict=True):
        rotates = before.layer not in full
        assert model.facts.rotates(before.layer) == rotates
        assert ("q_unrotated" in before.arrays) == rotates
        assert after.provenance("x") == ("what-if" if touched else "real")
        assert after.provenance("q") == ("what-if" if touched or rotates else "real")
        assert touched or np.array_equal(before.x, after.x)
        if rotates:  # by an angle of 0, times the attention factor
            factor = np.float32(before.shown["attention_factor"])
            assert np.array_equal(after.q, after.q_unrotated * factor)
        elif not touched:
            assert np.array_equal(before.q, after.q)
        touched = touched or rotates


def test_a_model_none_of_whose_layers_rotate_has_no_positions(opened, tmp_path):
    config = document("smollm3-b")["config"] | {"no_rope_layers": [0, 0]}
    facts = session.load(str(made_folder(tmp_path, "smollm3-b", config))).facts
    assert facts.positions == "none"
    assert not any(facts.rotates(layer) for layer in range(facts.layers))


# --- configs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["olmo3-a", "cohere2-a", "exaone4-a", "smollm3-a"])
def test_which_layers_differ_follows_without_the_lists_as_in_the_reference(name):
    """The reference writes out the lists that it makes where config.json has none."""
    config = document(name)["config"]
    lists = ("layer_types", "no_rope_layers", "sliding_window_pattern", "no_rope_layer_interval")
    short = {key: value for key, value in config.items() if key not in lists}
    assert len(short) < len(config)
    assert read(short)[0] == read(config)[0]


def test_without_layer_types_the_layers_that_do_not_rotate_have_the_window():
    config = document("smollm3-b")["config"]
    short = {key: value for key, value in config.items() if key != "layer_types"}
    assert read(short)[0] == read(config)[0]
    assert read(short)[0].windows == (4, 0)


@pytest.mark.parametrize("name", NAMES)
def test_every_key_that_the_reference_writes_is_known(name):
    assert read(document(name)["config"])[1] == []


OLDER = {"rope_theta": 83.0, "rope_scaling": {"rope_type": "linear", "factor": 2.0}}


def test_an_older_base_is_that_of_olmo3s_full_layers_alone():
    """As the reference reads it: `convert_rope_params_to_dict` takes it out before the others."""
    config = {k: v for k, v in document("olmo3-a")["config"].items() if k != "rope_parameters"}
    found = read(config | OLDER)[0]
    half = 83.0 ** (-np.arange(4) / 4) / 2
    assert found.rope.frequencies == pytest.approx(half, rel=1e-6)
    assert found.local_rope.frequencies == pytest.approx(500000.0 ** (-np.arange(4) / 4), rel=1e-6)
    # The kind that a section has by itself comes before an older name of it.
    named = {"rope_scaling": {"type": "linear", "factor": 2.0}}
    assert read(config | OLDER | named)[0].rope.frequencies == pytest.approx(2 * half, rel=1e-6)


def test_only_what_is_said_of_a_kind_of_layer_counts():
    """Beside the kinds the reference reads nothing but `truncate`, and within them not that."""
    config = document("olmo3-b")["config"]
    bare = {k: v for k, v in config.items() if k != "rope_parameters"}
    flat = {"rope_type": "linear", "factor": 2.0, "rope_theta": 59.0}
    found, unknown = read(bare | {"rope_parameters": flat})
    assert found == read(bare)[0]
    assert unknown == [f"rope_parameters.{key}" for key in sorted(flat)]
    yarn = {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 16,
            "rope_theta": 59.0}  # fmt: skip
    plain, inside, beside = (
        read(bare | {"rope_parameters": {"full_attention": yarn | within} | around})[0].rope
        for within, around in (({}, {}), ({"truncate": False}, {}), ({}, {"truncate": False}))
    )
    assert plain == inside != beside


BAD = [
    ("olmo-a", {"clip_qkv": -1.0}, "clip_qkv is -1.0"),
    ("olmo3-a", {"sliding_window": None}, "sliding_window is missing"),
    ("smollm3-a", {"no_rope_layers": [1, 1, 1]}, "no_rope_layers is not a list of 4"),
    ("smollm3-a", {"no_rope_layers": []}, "no_rope_layers is not a list of 4"),
    ("smollm3-a", {"no_rope_layers": [1, 2, 0, 0]}, "no_rope_layers is 2"),
    ("smollm3-a", {"no_rope_layer_interval": 0}, "no_rope_layer_interval is 0"),
    ("smollm3-a", {"layer_types": ["sliding_attention"] * 4}, "sliding_window is null"),
    ("smollm3-b", {"sliding_window": 0}, "sliding_window is 0"),
    ("cohere-a", {"logit_scale": "big"}, "logit_scale is 'big'"),
    ("cohere2-a", {"layer_types": ["full"] * 4}, "layer_types is 'full'"),
    ("exaone4-a", {"layer_types": None, "sliding_window_pattern": "LLLG"}, "pattern is 'LLLG'"),
    ("exaone4-b", {"layer_types": None}, "sliding_window is missing"),
    ("glm-a", {"rope_parameters": {"partial_rotary_factor": 1.5}}, "cannot turn in pairs"),
    ("hunyuan_v1_dense-a", {"head_dim": None}, "head_dim is missing"),
    ("hunyuan_v1_dense-a", {"rope_parameters": {"rope_type": "dynamic", "alpha": -3}}, "alpha is"),
    ("hunyuan_v1_dense-a", {"rope_parameters": {"rope_type": "dynamic", "alpha": 1e300}}, "finite"),
    ("hunyuan_v1_dense-a", {"head_dim": 2, "num_attention_heads": 12}, "finite"),
]


@pytest.mark.parametrize(("name", "change", "match"), BAD)
def test_what_cannot_be_honoured_is_refused_by_name(name, change, match):
    with pytest.raises(ContentError, match=match):
        read(document(name)["config"] | change)
